#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <troupe/runtime/cuda/card.h>
#include <troupe/runtime/cuda/dispatch.h>
#include <troupe/runtime/cuda/kernels/attention.h>
#include <troupe/runtime/cuda/kernels/best.h>
#include <troupe/runtime/cuda/workspace.h>

// The walk over the layers of a stage on a card. One layer turns the residual stream x (B, C) into
// the next x, with these launches:
//
//   norm_quantize       n = norm(x)
//   products            q, k, v = Wq n, Wk n, Wv n     one launch for each format among the three
//   rotate_and_store    rotates q and k, keeps k and v in their pages
//   attend_scores, attend_values, attend_combine       a = softmax(q k^T / sqrt(D)) v
//   products            x = x + Wo a
//   norm_quantize       n = norm(x)
//   products            g, u = Wg n, Wu n
//   swiglu_quantize     g = silu(g) * u
//   products            x = x + Wd g
//
// A row's results do not depend on the other rows, so chunks and batches change no bit.
//
// The launches of a small step are recorded when its shape comes for the second time, and played
// from then on: everything that differs between steps of one shape lies in the step's parameters,
// which the kernels read through pointers. Grids are then sized for the longest sequence of a
// bucket; blocks of threads without keys do nothing.

namespace troupe::cuda::TROUPE_CUDA_SIDE {

static_assert(std::size_t{kPage} == kernels::kPageKeys);

class Program final : public StageProgram {
 public:
  Program(std::shared_ptr<Card> card, const StageShape& shape, std::span<const DeviceLayer> layers,
          const DeviceEnds& ends)
      : card_(std::move(card)),
        shape_(shape),
        layers_(layers.begin(), layers.end()),
        ends_(ends),
        width_(shape.heads * shape.head_dim),
        kv_width_(shape.kv_heads * shape.head_dim) {
    for (const DeviceLayer& layer : layers_) {
      for (const DeviceMatrix* matrix : {&layer.q, &layer.k, &layer.v, &layer.gate, &layer.up})
        normed_needs_.add(*matrix);
      attended_needs_.add(layer.attention_out);
      gate_needs_.add(layer.down);
    }
    logit_needs_.add(ends_.output);
    const std::size_t block = attended_needs_.superblocks ? 256 : attended_needs_.blocks ? 32 : 1;
    heads_at_once_ = std::lcm(shape.head_dim, block) / shape.head_dim;
  }

  Status run(const DeviceStep& step, const DeviceResults& results) override {
    TROUPE_RETURN_IF_ERROR(card_->enter());
    TROUPE_RETURN_IF_ERROR(reserve(step));
    TROUPE_RETURN_IF_ERROR(send_step(step));
    TROUPE_RETURN_IF_ERROR(launch_step(step));
    return fetch_results(step, results);
  }

 private:
  // The step's own values, which one copy brings to the card.
  struct Parameters {
    DeviceRow* rows = nullptr;
    unsigned char** blocks = nullptr;
    float* cos_sin = nullptr;
    int *tokens = nullptr, *logit_rows = nullptr;
    float* hidden = nullptr;
  };

  Stream stream() const { return card_->stream(); }
  std::size_t logit_count(const DeviceStep& step) const {
    return step.logits.size() + step.best.size();
  }

  // Lays out the parameters. The table of blocks comes last, and only the part that the step uses
  // is sent.
  Parameters lay_out_parameters(const DeviceStep& step, Layout& layout) const {
    Parameters parameters;
    parameters.rows = layout.take<DeviceRow>(step.rows.size());
    parameters.cos_sin = layout.take<float>(step.cos_sin.size());
    parameters.tokens = layout.take<int>(step.rows.size());
    parameters.logit_rows = layout.take<int>(logit_count(step));
    parameters.hidden = layout.take<float>(step.hidden.size());
    parameters.blocks = layout.take<unsigned char*>(block_room_);
    return parameters;
  }

  void lay_out_work(const DeviceStep& step, Layout& layout) {
    const StageShape& s = shape_;
    x_ = layout.take<float>(rows_ * s.channels);
    normed_ = layout.take_rows(rows_, s.channels, normed_needs_);
    q_ = layout.take<float>(rows_ * width_);
    k_ = layout.take<float>(rows_ * kv_width_);
    v_ = layout.take<float>(rows_ * kv_width_);
    attended_ = layout.take_rows(rows_, width_, attended_needs_);
    gate_ = layout.take_rows(rows_, s.ffn_channels, gate_needs_);
    up_ = layout.take<float>(rows_ * s.ffn_channels);
    const std::size_t pairs = attention_rows_ * s.heads;
    scores_ = layout.take<float>(pairs * chunks_ * kKeysAtOnce);
    largest_ = layout.take<float>(pairs * chunks_);
    parts_ = layout.take<float>(pairs * chunks_ * s.head_dim);
    const std::size_t logits = logit_count(step);
    logit_input_ = layout.take_rows(logits, s.channels, logit_needs_);
    logits_ = layout.take<float>(logits * s.vocabulary);
    best_parts_ = layout.take<Best>(step.best.size() * rounded_up(s.vocabulary, kBestColumns));
    best_ = layout.take<Best>(step.best.size());
  }

  // Takes the memory for a step, and keeps as much as the largest step so far needed.
  Status reserve(const DeviceStep& step) {
    rows_ = step.rows.size();
    std::size_t keys = 0;
    for (const DeviceStepRow& row : step.rows) keys = std::max<std::size_t>(keys, row.position + 1);
    chunks_ = rounded_up(keys, kKeysAtOnce);
    block_room_ = step.blocks.size();
    std::size_t bucket = 1;
    while (bucket < chunks_) bucket *= 4;
    const std::size_t bucket_blocks = rows_ * bucket * (kKeysAtOnce / kPage);
    records_ = rows_ <= kRecordedRows && block_room_ <= bucket_blocks;
    if (records_) {
      chunks_ = bucket;
      block_room_ = bucket_blocks;
    }
    // The number of rows whose scores exist at one time, which bounds their memory.
    const std::size_t row_bytes =
        shape_.heads * chunks_ * (kKeysAtOnce + 1 + shape_.head_dim) * sizeof(float);
    attention_rows_ = std::clamp<std::size_t>(kAttentionBytes / row_bytes, 1, rows_);
    Layout sizes(nullptr);
    lay_out_parameters(step, sizes);
    parameter_bytes_ = sizes.bytes();
    lay_out_work(step, sizes);
    if (sizes.bytes() > work_.bytes()) {
      recordings_.clear();  // recordings point into this memory
      work_ = AlignedBuffer();
      TROUPE_ASSIGN_OR_RETURN(work_, allocate_on(card_, sizes.bytes() + sizes.bytes() / 4));
    }
    Layout layout(work_.data());
    on_card_ = lay_out_parameters(step, layout);
    lay_out_work(step, layout);
    const std::size_t result_bytes =
        (rows_ * shape_.channels + step.logits.size() * shape_.vocabulary) * sizeof(float) +
        step.best.size() * sizeof(Best);
    return card_->check(pinned_.grow(std::max(parameter_bytes_, result_bytes)),
                        "memory for a step was taken");
  }

  Status send_step(const DeviceStep& step) {
    Layout layout(pinned_.data());
    const Parameters host = lay_out_parameters(step, layout);
    for (std::size_t i = 0; i < rows_; ++i) {
      host.rows[i] = {static_cast<int>(step.rows[i].position),
                      static_cast<int>(step.rows[i].first_block)};
      host.tokens[i] = step.rows[i].token;
    }
    for (std::size_t i = 0; i < step.blocks.size(); ++i)
      host.blocks[i] = reinterpret_cast<unsigned char*>(step.blocks[i]);
    std::copy(step.cos_sin.begin(), step.cos_sin.end(), host.cos_sin);
    std::copy(step.hidden.begin(), step.hidden.end(), host.hidden);
    int* to = std::copy(step.logits.begin(), step.logits.end(), host.logit_rows);
    std::copy(step.best.begin(), step.best.end(), to);
    const std::size_t sent = static_cast<std::size_t>(
        reinterpret_cast<std::byte*>(host.blocks + step.blocks.size()) - pinned_.data());
    TROUPE_RETURN_IF_ERROR(card_->check(copy_in(stream(), work_.data(), pinned_.data(), sent),
                                        "a step was copied to it"));
    // The layers change x in place, and the copied hidden states are x.
    if (ends_.embedding.rows == 0) x_ = on_card_.hidden;
    return Status::ok();
  }

  // The shape of a step whose launches are recorded.
  using Shape = std::array<std::size_t, 4>;

  void walk(const DeviceStep& step) {
    if (ends_.embedding.rows != 0)
      launch_gather(stream(), ends_.embedding, on_card_.tokens, rows_, x_);
    for (std::size_t layer = 0; layer < layers_.size(); ++layer) run_layer(layer);
    compute_logits(step);
  }

  Status launch_step(const DeviceStep& step) {
    if (!records_) {
      walk(step);
      return Status::ok();
    }
    if (recordings_.size() >= kRecordingsMax) recordings_.clear();
    std::unique_ptr<Recording>& recording =
        recordings_[Shape{rows_, chunks_, step.logits.size(), step.best.size()}];
    if (recording == nullptr) {
      // The first step of a shape runs by itself: it loads the kernels, and a recording must not
      // load any.
      recording = std::make_unique<Recording>();
      walk(step);
      return Status::ok();
    }
    if (recording->empty()) {
      TROUPE_RETURN_IF_ERROR(card_->check(recording->begin(stream()), "a step was recorded"));
      walk(step);
      TROUPE_RETURN_IF_ERROR(card_->check(recording->end(stream()), "a step was recorded"));
    }
    return card_->check(recording->play(stream()), "a step began");
  }

  ProductArgs product_of(const Rows& rows, std::size_t count) const {
    ProductArgs args;
    args.batch = static_cast<int>(count);
    args.x = rows.values;
    args.blocks = rows.blocks;
    return args;
  }

  void norm(const float* weight) {
    launch(stream(), norm_quantize, dim3(static_cast<unsigned>(rows_)), kNormThreads, x_, nullptr,
           weight, shape_.norm_epsilon, static_cast<int>(shape_.channels), normed_.values,
           normed_.blocks);
  }

  // x += W rows, and rounds x to f16 if it is the layer's last sum.
  void add_to_x(const Rows& rows, const DeviceMatrix& matrix, const float* bias, bool rounds) {
    ProductArgs args = product_of(rows, rows_);
    args.accumulate = true;
    args.round_to_half = rounds;
    launch_products(stream(), args, {{&matrix, bias, x_}});
  }

  void run_layer(std::size_t index) {
    const DeviceLayer& layer = layers_[index];
    norm(layer.attention_norm);
    launch_products(
        stream(), product_of(normed_, rows_),
        {{&layer.q, layer.q_bias, q_}, {&layer.k, layer.k_bias, k_}, {&layer.v, layer.v_bias, v_}});
    if (shape_.kv_type == kernels::KvType::kF16) {
      attend<F16Keys>(index);
    } else {
      attend<F32Keys>(index);
    }
    add_to_x(attended_, layer.attention_out, layer.attention_out_bias, false);
    norm(layer.ffn_norm);
    launch_products(
        stream(), product_of(normed_, rows_),
        {{&layer.gate, layer.gate_bias, gate_.values}, {&layer.up, layer.up_bias, up_}});
    launch(stream(), swiglu_quantize,
           dim3(rounded_up(shape_.ffn_channels, kSwigluColumns), static_cast<unsigned>(rows_)),
           kNormThreads, gate_.values, up_, static_cast<int>(shape_.ffn_channels), gate_.blocks);
    add_to_x(gate_, layer.down, layer.down_bias, shape_.f16_activations);
  }

  template <class Keys>
  void attend(std::size_t index) {
    const DeviceLayer& layer = layers_[index];
    const LayerPages pages{on_card_.rows, on_card_.blocks, index * shape_.page_bytes,
                           static_cast<int>(shape_.kv_heads), static_cast<int>(shape_.head_dim)};
    const auto heads = static_cast<unsigned>(shape_.heads);
    const auto kv_heads = static_cast<unsigned>(shape_.kv_heads);
    RotateArgs rotate;
    rotate.pages = pages;
    rotate.q = q_;
    rotate.k = k_;
    rotate.v = v_;
    rotate.q_norm = layer.q_norm;
    rotate.k_norm = layer.k_norm;
    rotate.epsilon = shape_.norm_epsilon;
    rotate.cos_sin = on_card_.cos_sin;
    rotate.heads = static_cast<int>(heads);
    rotate.rotary_dim = layer.rotates ? static_cast<int>(shape_.rotary_dim) : 0;
    rotate.interleaved = shape_.rope_interleaved;
    launch(stream(), rotate_and_store<Keys>,
           dim3(heads + 2 * kv_heads, static_cast<unsigned>(rows_)), kWarp, rotate);
    AttentionArgs at;
    at.pages = pages;
    at.q = q_;
    at.heads = static_cast<int>(heads);
    at.window = static_cast<int>(layer.window);
    at.scale = shape_.attention_scale;
    at.chunks = static_cast<int>(chunks_);
    at.keys = static_cast<int>(chunks_) * kKeysAtOnce;
    at.scores = scores_;
    at.largest = largest_;
    at.parts = parts_;
    at.out = attended_.values;
    at.blocks = attended_.blocks;
    at.heads_at_once = static_cast<int>(heads_at_once_);
    const auto chunks = static_cast<unsigned>(chunks_);
    const unsigned pair_threads = rounded_up(shape_.head_dim / 2, kWarp) * kWarp;
    for (std::size_t first = 0; first < rows_; first += attention_rows_) {
      const auto count = static_cast<unsigned>(std::min(attention_rows_, rows_ - first));
      at.first_row = static_cast<int>(first);
      launch(stream(), attend_scores<Keys>, dim3(chunks, kv_heads, count), kScoreThreads, at);
      launch(stream(), attend_values<Keys>, dim3(chunks, heads, count), pair_threads, at);
      launch(stream(), attend_combine, dim3(heads / static_cast<unsigned>(at.heads_at_once), count),
             kCombineThreads, at);
    }
  }

  void compute_logits(const DeviceStep& step) {
    const std::size_t count = logit_count(step);
    if (count == 0) return;
    launch(stream(), norm_quantize, dim3(static_cast<unsigned>(count)), kNormThreads, x_,
           on_card_.logit_rows, ends_.output_norm, shape_.norm_epsilon,
           static_cast<int>(shape_.channels), logit_input_.values, logit_input_.blocks);
    launch_products(stream(), product_of(logit_input_, count), {{&ends_.output, nullptr, logits_}});
    if (step.best.empty()) return;
    const unsigned parts = rounded_up(shape_.vocabulary, kBestColumns);
    const auto rows = static_cast<unsigned>(step.best.size());
    launch(stream(), best_of_part, dim3(parts, rows), kBestThreads,
           logits_ + step.logits.size() * shape_.vocabulary, static_cast<int>(shape_.vocabulary),
           best_parts_);
    launch(stream(), best_of_row, dim3(rows), kBestThreads, best_parts_, static_cast<int>(parts),
           best_);
  }

  Status fetch_results(const DeviceStep& step, const DeviceResults& results) {
    // The parameters have left the pinned memory: the stream copies in order.
    const std::string when = "a step ran";
    const std::size_t hidden_bytes =
        results.hidden == nullptr ? 0 : rows_ * shape_.channels * sizeof(float);
    const std::size_t logit_bytes = step.logits.size() * shape_.vocabulary * sizeof(float);
    const std::size_t best_bytes = step.best.size() * sizeof(Best);
    std::byte* const host = pinned_.data();
    TROUPE_RETURN_IF_ERROR(card_->check(copy_out(stream(), host, x_, hidden_bytes), when));
    TROUPE_RETURN_IF_ERROR(
        card_->check(copy_out(stream(), host + hidden_bytes, logits_, logit_bytes), when));
    TROUPE_RETURN_IF_ERROR(card_->check(
        copy_out(stream(), host + hidden_bytes + logit_bytes, best_, best_bytes), when));
    TROUPE_RETURN_IF_ERROR(card_->finish(when));
    if (hidden_bytes != 0) std::memcpy(results.hidden, host, hidden_bytes);
    if (logit_bytes != 0) std::memcpy(results.logits, host + hidden_bytes, logit_bytes);
    for (std::size_t i = 0; i < step.best.size(); ++i) {
      Best best;
      std::memcpy(&best, host + hidden_bytes + logit_bytes + i * sizeof(Best), sizeof(Best));
      results.best[i] = {best.id, best.value, best.nan != 0};
    }
    return Status::ok();
  }

  static constexpr std::size_t kAttentionBytes = std::size_t{256} << 20;
  static constexpr unsigned kNormThreads = 128;
  static constexpr std::size_t kRecordedRows = 64, kRecordingsMax = 64;

  const std::shared_ptr<Card> card_;
  const StageShape shape_;
  const std::vector<DeviceLayer> layers_;
  const DeviceEnds ends_;
  const std::size_t width_, kv_width_;  // of all heads side by side
  RowNeeds normed_needs_, attended_needs_, gate_needs_, logit_needs_;
  std::size_t heads_at_once_ = 1;

  // These belong to the running step.
  std::size_t rows_ = 0, chunks_ = 0, attention_rows_ = 0, parameter_bytes_ = 0;
  std::size_t block_room_ = 0;  // the number of entries that the table of blocks has room for
  bool records_ = false;
  Parameters on_card_;
  float *x_ = nullptr, *q_ = nullptr, *k_ = nullptr, *v_ = nullptr, *up_ = nullptr;
  float *scores_ = nullptr, *largest_ = nullptr, *parts_ = nullptr, *logits_ = nullptr;
  Rows normed_, attended_, gate_, logit_input_;
  Best *best_parts_ = nullptr, *best_ = nullptr;
  AlignedBuffer work_;
  PinnedMemory pinned_;
  std::map<Shape, std::unique_ptr<Recording>> recordings_;
};

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
