#include <algorithm>
#include <cstring>

#include <troupe/model/training/layer_parts.h>

namespace troupe::model {
namespace {

constexpr std::size_t kAttentionRows = 32;  // of one call to the attention kernel

class Forward : public LayerView {
 public:
  using LayerView::LayerView;

  void run(float* out) {
    prepare_inputs();
    multiply(kQ, {normed_out(), rows_out, channels}, keep.q);
    multiply(kK, {normed_all(), rows, channels}, work.k);
    multiply(kV, {normed_all(), rows, channels}, work.v);
    rotate_and_store();
    attend();
    copy_share(input_out(), keep.middle, rows_out * channels);
    team.barrier(thread);
    multiply(kAttnOut, {keep.attended, rows_out, width}, keep.middle, /*accumulate=*/true);
    feed_forward(out);
  }

 private:
  void rotate_and_store() {
    const IndexRange mine = team.share(batch.examples.size(), thread);
    for (std::size_t e = mine.begin; e < mine.end; ++e) {
      const ExampleRows& example = batch.examples[e];
      for (const std::size_t offset : step.page_offsets[e])
        std::memset(keep.pages + offset, 0, step.page_bytes);
      for (std::size_t position = 0; position < example.count; ++position) {
        const std::size_t row = example.first_row + position;
        float *k = work.k + row * kv_width, *v = work.v + row * kv_width;
        turn(k, keep.k_raw, row, kKNorm, config.kv_heads, position);
        team.kernels.kv_write(k, v, page(e, position), kernels::KvType::kF32, config.kv_heads,
                              config.head_dim, position % kernels::kPageKeys);
        const std::size_t q_row = first_only ? e : row;
        if (!first_only || position == 0)
          turn(keep.q + q_row * width, keep.q_raw, q_row, kQNorm, config.heads, position);
      }
    }
    team.barrier(thread);
  }

  // Norms and rotates the heads of a row in place; keeps the input of the norm in `raw`.
  void turn(float* heads, float* raw, std::size_t row, std::size_t norm_slot, std::size_t count,
            std::size_t position) {
    if (config.head_norm) {
      std::copy_n(heads, count * config.head_dim, raw + row * count * config.head_dim);
      team.kernels.rms_norm(heads, weight(norm_slot).vector.data(), config.norm_epsilon,
                            config.head_dim, 0, count, heads);
    }
    if (config.rotary_dim != 0)
      team.kernels.rope(heads, count, config.head_dim, config.rotary_dim, step.rope.at(position),
                        config.rope_interleaved);
  }

  void attend() {
    std::size_t piece = 0;  // pieces go round the threads
    for (std::size_t e = 0; e < batch.examples.size(); ++e) {
      const ExampleRows& example = batch.examples[e];
      const std::size_t count = first_only ? 1 : example.count;
      const std::size_t first_row = first_only ? e : example.first_row;
      const std::vector<const std::byte*> example_pages = pages(e);
      for (std::size_t row = 0; row < count; row += kAttentionRows, ++piece) {
        if (piece % static_cast<std::size_t>(team.threads) != static_cast<std::size_t>(thread))
          continue;
        kernels::AttentionArgs args;
        args.q = keep.q + (first_row + row) * width;
        args.out = keep.attended + (first_row + row) * width;
        args.q_stride = args.out_stride = width;
        args.pages = example_pages.data();
        args.kv_type = kernels::KvType::kF32;
        args.heads = config.heads;
        args.kv_heads = config.kv_heads;
        args.head_dim = config.head_dim;
        args.scale = scale();
        args.position = row;
        args.window = window();
        if (!config.causal) args.bidirectional_keys = example.count;
        team.kernels.attention(args, 0, config.heads, 0, std::min(kAttentionRows, count - row),
                               team.scratch(thread));
      }
    }
    team.barrier(thread);
  }

  void feed_forward(float* out) {
    const float* input = feed_forward_input();
    if (gated) multiply(kGate, {input, rows_out, channels}, keep.gate);
    multiply(kUp, {input, rows_out, channels}, gated ? keep.up : keep.gate);
    copy_share(config.post_norm ? input : keep.middle, out, rows_out * channels);
    activate();
    multiply(kDown, {work.h, rows_out, config.ffn_channels}, out, /*accumulate=*/true);
    if (!config.post_norm) return;
    copy_share(out, keep.sum, rows_out * channels);
    team.barrier(thread);
    norm(kFfnNorm, keep.sum, rows_out, out);
  }

  // h = silu(gate) * up, or gelu(gate).
  void activate() {
    const IndexRange mine = team.share(rows_out, thread);
    const std::size_t at = mine.begin * config.ffn_channels;
    const std::size_t count = (mine.end - mine.begin) * config.ffn_channels;
    std::copy_n(keep.gate + at, count, work.h + at);
    switch (config.feed_forward) {
      case FeedForward::kGatedSilu:
        team.kernels.silu_mul(work.h + at, keep.up + at, count);
        break;
      case FeedForward::kGatedGelu:
      case FeedForward::kGatedGeluErf:
      case FeedForward::kGatedClamped:
        break;  // check_trainable refuses it
      case FeedForward::kGeluTanh:
        team.kernels.gelu_tanh(work.h + at, count);
        break;
      case FeedForward::kGeluErf:
        team.kernels.gelu_erf(work.h + at, count);
        break;
    }
    team.barrier(thread);
  }
};

}  // namespace

void layer_forward(LayerStep& step, std::size_t layer, const LayerActivations& keep, float* out,
                   int thread) {
  Forward(step, layer, keep, thread).run(out);
}

}  // namespace troupe::model
