#include <algorithm>
#include <cstring>
#include <initializer_list>

#include <troupe/model/training/layer_parts.h>
#include <troupe/runtime/kernels/column_sums.h>
#include <troupe/runtime/kernels/norm_backward.h>

namespace troupe::model {
namespace {

class Backward : public LayerView {
 public:
  using LayerView::LayerView;

  void run(float* dx) {
    const SumPart& part = first_only ? batch.first : batch.all;
    // With post_norm, the sums are normed: from here on dx is the gradient of a sum.
    if (config.post_norm) norm_backward(kFfnNorm, keep.sum, dx, rows_out, part, false, dx);
    feed_forward(dx, part);
    attention(dx, part);
  }

 private:
  // The gradient of a slot's output, from which the gradients of the slot's weights follow.
  struct SlotGradient {
    std::size_t slot;
    RowsOfFloats dy;
  };

  // Computes the gradients of the trained weights in some slots that all take x.
  void weight_gradients(RowsOfFloats x, std::initializer_list<SlotGradient> slots,
                        const SumPart& part) {
    bool is_packed = false;
    for (const auto& [slot, dy] : slots) {
      Parameter *matrix = trained(slot), *bias = trained(slot + 1);
      if (matrix != nullptr) {
        if (!is_packed) team.pack_inputs(thread, x);
        is_packed = true;
        team.block_gradient(thread, *matrix, 0, dy, part);
      }
      if (bias != nullptr) team.bias_gradient(thread, *bias, 0, dy, part);
    }
    for (const auto& [slot, dy] : slots)
      if (Adapter* low_rank = adapter(slot); low_rank != nullptr)
        adapter_gradients(*low_rank, adapter_input(slot, x), dy, part);
  }

  // dB = dy (outer) (scale A x), dA^T = x (outer) (scale B^T dy), summed over the rows, where x is
  // what the adapter reads.
  void adapter_gradients(Adapter& low_rank, RowsOfFloats x, RowsOfFloats dy, const SumPart& part) {
    const std::size_t rank = low_rank.rank();
    team.multiply_narrow(thread, low_rank.down.weight->matrix, low_rank.scale, x, work.low);
    team.pack_inputs(thread, {work.low, x.rows, rank});
    team.block_gradient(thread, low_rank.up, 0, dy, part);
    team.multiply_narrow(thread, low_rank.up.weight->matrix, low_rank.scale, dy, work.dlow);
    team.pack_inputs(thread, {work.dlow, x.rows, rank});
    team.block_gradient(thread, low_rank.down, 0, x, part);
  }

  // dx = the gradient of a norm's input, or dx += it; the gradients of its weights.
  void norm_backward(std::size_t slot, const float* x, const float* dy, std::size_t count,
                     const SumPart& part, bool accumulate, float* dx) {
    const bool layer_norm = config.norm == NormKind::kLayer;
    const IndexRange mine = team.share(count, thread);
    // The weights' gradients read dy, which dx may overwrite; so the statistics come first.
    float* to = accumulate || dx != dy ? dx : work.dn;
    const float* gain = weight(slot).vector.data();
    if (layer_norm) {
      kernels::layer_norm_backward(x, gain, dy, config.norm_epsilon, channels, mine.begin, mine.end,
                                   accumulate, work.mean, work.inverse, to);
    } else {
      kernels::rms_norm_backward(x, gain, dy, config.norm_epsilon, channels, mine.begin, mine.end,
                                 accumulate, work.inverse, to);
    }
    team.barrier(thread);
    const IndexRange blocks = team.share((channels + 15) / 16, thread);
    const std::size_t begin = blocks.begin * 16, end = std::min(blocks.end * 16, channels);
    if (Parameter* gain_parameter = trained(slot); gain_parameter != nullptr)
      kernels::normed_column_sums(dy, x, layer_norm ? work.mean : nullptr, work.inverse, channels,
                                  gain_parameter->sum(part), begin, end);
    if (Parameter* bias = layer_norm ? trained(slot + 1) : nullptr; bias != nullptr)
      kernels::column_sums(dy, channels, bias->sum(part), begin, end);
    team.barrier(thread);
    if (to != dx) {
      copy_share(to, dx, count * channels);
      team.barrier(thread);
    }
  }

  // dx is the gradient of the sum after the network, and becomes that of the sum after attention.
  void feed_forward(float* dx, const SumPart& part) {
    const std::size_t ffn = config.ffn_channels;
    multiply_back(kDown, {dx, rows_out, channels}, work.h, false);
    activation_backward();
    weight_gradients({keep.gate, rows_out, ffn}, {{kDown, {dx, rows_out, channels}}}, part);
    const RowsOfFloats input{feed_forward_input(), rows_out, channels};
    const RowsOfFloats dgate{work.h, rows_out, ffn};
    const RowsOfFloats dup = gated ? RowsOfFloats{keep.up, rows_out, ffn} : dgate;
    if (gated) {
      weight_gradients(input, {{kGate, dgate}, {kUp, dup}}, part);
    } else {
      weight_gradients(input, {{kUp, dup}}, part);
    }
    if (config.post_norm) {
      multiply_back(kUp, dup, dx, true);
      norm_backward(kAttnNorm, keep.middle, dx, rows_out, part, false, dx);
      return;
    }
    if (gated) multiply_back(kGate, dgate, work.dn, false);
    multiply_back(kUp, dup, work.dn, gated);
    norm_backward(kFfnNorm, keep.middle, work.dn, rows_out, part, true, dx);
  }

  // Reads dh from work.h. Writes h to keep.gate, and the gradients of its inputs to work.h and
  // keep.up.
  void activation_backward() {
    const IndexRange mine = team.share(rows_out, thread);
    const std::size_t at = mine.begin * config.ffn_channels;
    const std::size_t count = (mine.end - mine.begin) * config.ffn_channels;
    float *gate = keep.gate + at, *dh = work.h + at;
    switch (config.feed_forward) {
      case FeedForward::kGatedSilu:
        team.training.silu_mul_backward(gate, keep.up + at, dh, gate, dh, keep.up + at, count);
        break;
      case FeedForward::kGatedGelu:
      case FeedForward::kGatedGeluErf:
      case FeedForward::kGatedClamped:
        break;  // check_trainable refuses it
      case FeedForward::kGeluTanh:
        team.training.gelu_tanh_backward(gate, dh, gate, dh, count);
        break;
      case FeedForward::kGeluErf:
        team.training.gelu_erf_backward(gate, dh, gate, dh, count);
        break;
    }
    team.barrier(thread);
  }

  // dx is the gradient of the sum after attention (R,C), and becomes that of the layer's input
  // (T,C).
  void attention(float* dx, const SumPart& part) {
    multiply_back(kAttnOut, {dx, rows_out, channels}, work.da, false);
    weight_gradients({keep.attended, rows_out, width}, {{kAttnOut, {dx, rows_out, channels}}},
                     part);
    attend_backward();
    turn_back(part);
    prepare_inputs();
    const SlotGradient query{kQ, {work.dq, rows_out, width}};
    const SlotGradient key{kK, {work.k, rows, kv_width}}, value{kV, {work.v, rows, kv_width}};
    if (first_only) {
      weight_gradients({normed_out(), rows_out, channels}, {query}, part);
      weight_gradients({normed_all(), rows, channels}, {key, value}, batch.all);
    } else {
      weight_gradients({normed_all(), rows, channels}, {query, key, value}, part);
    }
    input_gradient(dx);
  }

  void input_gradient(float* dx) {
    // Computes the gradient of the input of q, k and v. With first_only, q's part concerns only
    // some rows.
    const bool trains_norm =
        !config.post_norm && (trained(kAttnNorm) != nullptr || trained(kAttnNormBias) != nullptr);
    if (!step.needs_input_gradient(layer) && !trains_norm) return;
    float* dn_out = first_only ? work.dmiddle : work.dn;
    multiply_back(kQ, {work.dq, rows_out, width}, dn_out, false);
    multiply_back(kK, {work.k, rows, kv_width}, work.dn, !first_only);
    multiply_back(kV, {work.v, rows, kv_width}, work.dn, true);
    if (first_only) {
      scatter_add(dn_out, work.dn);
      spread(dx);
    }
    if (!config.post_norm)
      return norm_backward(kAttnNorm, keep.x, work.dn, rows, batch.all, true, dx);
    const IndexRange mine = team.share(rows * channels, thread);
    for (std::size_t i = mine.begin; i < mine.end; ++i) dx[i] += work.dn[i];
    team.barrier(thread);
  }

  // Adds from's row of each example to the example's first row in `to`.
  void scatter_add(const float* from, float* to) {
    const IndexRange mine = team.share(batch.examples.size(), thread);
    for (std::size_t e = mine.begin; e < mine.end; ++e)
      for (std::size_t c = 0; c < channels; ++c)
        to[batch.examples[e].first_row * channels + c] += from[e * channels + c];
    team.barrier(thread);
  }

  // Moves the rows of dx to the first rows of their examples; the others become zero.
  void spread(float* dx) {
    copy_share(dx, work.first, rows_out * channels);
    team.barrier(thread);
    const IndexRange mine = team.share(batch.examples.size(), thread);
    for (std::size_t e = mine.begin; e < mine.end; ++e) {
      const ExampleRows& example = batch.examples[e];
      float* to = dx + example.first_row * channels;
      std::copy_n(work.first + e * channels, channels, to);
      std::fill_n(to + channels, (example.count - 1) * channels, 0.0f);
    }
    team.barrier(thread);
  }

  void attend_backward() {
    std::size_t piece = 0;  // pieces go round the threads
    for (std::size_t e = 0; e < batch.examples.size(); ++e) {
      const ExampleRows& example = batch.examples[e];
      const std::size_t out = (first_only ? e : example.first_row) * width;
      const std::vector<const std::byte*> example_pages = pages(e);
      kernels::AttentionBackwardArgs args;
      args.q = keep.q + out;
      args.out = keep.attended + out;
      args.dout = work.da + out;
      args.dq = work.dq + out;
      args.dk = work.dk + example.first_row * width;
      args.dv = work.dv + example.first_row * width;
      args.pages = example_pages.data();
      args.heads = config.heads;
      args.kv_heads = config.kv_heads;
      args.head_dim = config.head_dim;
      args.count = example.count;
      args.rows = first_only ? 1 : example.count;
      args.scale = scale();
      args.window = window();
      args.bidirectional = !config.causal;
      for (std::size_t head = 0; head < config.heads; ++head, ++piece)
        if (piece % static_cast<std::size_t>(team.threads) == static_cast<std::size_t>(thread))
          team.training.attention_backward(args, head, head + 1, team.scratch(thread));
    }
    team.barrier(thread);
  }

  // Turns dq back in place; adds the gradients of each key head's query heads to work.k and work.v
  // and turns those of keys back.
  void turn_back(const SumPart& part) {
    const std::size_t dim = config.head_dim, sharing = config.heads / config.kv_heads;
    const IndexRange mine = team.share(rows, thread);
    for (std::size_t row = mine.begin; row < mine.end; ++row) {
      const float *dk = work.dk + row * width, *dv = work.dv + row * width;
      for (std::size_t i = 0; i < kv_width; ++i) {
        const std::size_t from = i / dim * sharing * dim + i % dim;
        float k = dk[from], v = dv[from];
        for (std::size_t head = 1; head < sharing; ++head)
          k += dk[from + head * dim], v += dv[from + head * dim];
        work.k[row * kv_width + i] = k;
        work.v[row * kv_width + i] = v;
      }
      rotate_back(work.k + row * kv_width, config.kv_heads, batch.positions[row]);
    }
    const IndexRange mine_out = team.share(rows_out, thread);
    for (std::size_t row = mine_out.begin; row < mine_out.end; ++row)
      rotate_back(work.dq + row * width, config.heads, first_only ? 0 : batch.positions[row]);
    team.barrier(thread);
    if (!config.head_norm) return;
    heads_norm_backward(kQNorm, keep.q_raw, work.dq, rows_out * config.heads,
                        part.repeated(config.heads));
    heads_norm_backward(kKNorm, keep.k_raw, work.k, rows * config.kv_heads,
                        batch.all.repeated(config.kv_heads));
  }

  // Rotates back: the transpose of a rotation is the rotation by the opposite angle.
  void rotate_back(float* heads, std::size_t count, std::size_t position) {
    if (config.rotary_dim == 0) return;
    const float* cos_sin = step.rope.at(position);
    float back[kHeadDimMax];
    for (std::size_t i = 0; i < config.rotary_dim; i += 2)
      back[i] = cos_sin[i], back[i + 1] = -cos_sin[i + 1];
    team.kernels.rope(heads, count, config.head_dim, config.rotary_dim, back,
                      config.rope_interleaved);
  }

  // Computes the gradients of the norm of heads: each head of a row is a row of its own.
  void heads_norm_backward(std::size_t slot, const float* x, float* d, std::size_t heads,
                           const SumPart& part) {
    const std::size_t dim = config.head_dim;
    const IndexRange mine = team.share(heads, thread);
    float* dx = work.dk;  // its gradients have been added up
    kernels::rms_norm_backward(x, weight(slot).vector.data(), d, config.norm_epsilon, dim,
                               mine.begin, mine.end, false, work.inverse, dx);
    team.barrier(thread);
    const IndexRange blocks = team.share((dim + 15) / 16, thread);
    if (Parameter* gain = trained(slot); gain != nullptr)
      kernels::normed_column_sums(d, x, nullptr, work.inverse, dim, gain->sum(part),
                                  blocks.begin * 16, std::min(blocks.end * 16, dim));
    team.barrier(thread);
    copy_share(dx, d, heads * dim);
    team.barrier(thread);
  }
};

}  // namespace

void layer_backward(LayerStep& step, std::size_t layer, const LayerActivations& keep, float* dx,
                    int thread) {
  Backward(step, layer, keep, thread).run(dx);
}

}  // namespace troupe::model
