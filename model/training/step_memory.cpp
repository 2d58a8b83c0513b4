#include <algorithm>
#include <cstddef>
#include <cstdint>

#include <troupe/model/training/step_memory.h>
#include <troupe/runtime/kernels/kv_page.h>

namespace troupe::model {
namespace {

class Layout {
 public:
  Layout(const ModelConfig& config, const MicroBatch& micro, const StepShape& shape, float* base,
         StepMemory* memory)
      : config_(config),
        micro_(micro),
        shape_(shape),
        base_(base),
        memory_(*memory),
        rows_(micro.rows),
        channels_(config.channels),
        width_(config.heads * config.head_dim),
        kv_width_(config.kv_heads * config.head_dim) {}

  std::size_t run() {
    memory_ = {};
    lay_out_pages();
    const std::size_t layers = config_.layers;
    LayerActivations shared;
    if (!shape_.keeps) shared = activations(rows_);
    for (std::size_t layer = 0; layer < layers; ++layer)
      memory_.activations.push_back(shape_.keeps ? activations(rows_out(config_, micro_, layer))
                                                 : shared);
    float* turn[2] = {take(rows_ * channels_), take(rows_ * channels_)};
    for (std::size_t layer = 0; layer < layers; ++layer)
      memory_.activations[layer].x =
          shape_.backward && layer > 0 ? take(rows_ * channels_) : turn[layer % 2];
    memory_.result = shape_.backward ? turn[1] : turn[layers % 2];
    if (shape_.backward && config_.embedding_norm) memory_.embedded = take(rows_ * channels_);
    lay_out_workspace();
    if (shape_.backward) lay_out_gradients();
    return used_;
  }

 private:
  float* take(std::size_t floats) {
    float* here = base_ == nullptr ? nullptr : base_ + used_;
    used_ += (floats + 15) / 16 * 16;
    return here;
  }

  void lay_out_pages() {
    memory_.page_bytes =
        kernels::kv_page_bytes(kernels::KvType::kF32, config_.kv_heads, config_.head_dim);
    for (const ExampleRows& example : micro_.examples) {
      memory_.page_offsets.emplace_back();
      for (std::size_t key = 0; key < example.count; key += kernels::kPageKeys) {
        memory_.page_offsets.back().push_back(pages_bytes_);
        pages_bytes_ += memory_.page_bytes;
      }
    }
  }

  LayerActivations activations(std::size_t rows) {
    LayerActivations keep;
    keep.q = take(rows * width_);
    if (config_.head_norm) {
      keep.q_raw = take(rows * width_);
      keep.k_raw = take(rows_ * kv_width_);
    }
    keep.attended = take(rows * width_);
    keep.middle = take(rows * channels_);
    keep.gate = take(rows * config_.ffn_channels);
    if (config_.gated()) keep.up = take(rows * config_.ffn_channels);
    if (config_.post_norm) keep.sum = take(rows * channels_);
    keep.pages = reinterpret_cast<std::byte*>(take(pages_bytes_ / sizeof(float)));
    return keep;
  }

  // Lays out the memory that layers use one after the other, and the head's.
  void lay_out_workspace() {
    const std::size_t targets = micro_.target_rows.size();
    LayerWorkspace& work = memory_.work;
    work.normed = take(rows_ * channels_);
    work.first = take(micro_.examples.size() * channels_);
    work.first_normed = take(micro_.examples.size() * channels_);
    work.k = take(rows_ * kv_width_);
    work.v = take(rows_ * kv_width_);
    work.h = take(rows_ * config_.ffn_channels);
    work.dmiddle = take(rows_ * channels_);
    work.low = take(rows_ * shape_.rank);
    if (shape_.drops)
      work.dropped = take(rows_ * std::max({channels_, width_, config_.ffn_channels}));
    HeadMemory& head = memory_.head;
    head.x = take(targets * channels_);
    head.normed = take(targets * channels_);
    if (config_.head == EncoderHead::kMask) {
      head.dense = take(targets * channels_);
      head.active = take(targets * channels_);
    }
    head.logits = take(slice_rows(config_, targets, shape_.needs_all_logits) * config_.outputs());
    head.losses = take(targets);
    head.hits = reinterpret_cast<std::uint8_t*>(take((targets + 3) / 4));
  }

  void lay_out_gradients() {
    const std::size_t targets = micro_.target_rows.size();
    LayerWorkspace& work = memory_.work;
    memory_.dx = take(rows_ * channels_);
    work.dn = take(rows_ * channels_);
    work.da = take(rows_ * width_);
    work.dq = take(rows_ * width_);
    work.dk = take(rows_ * width_);
    work.dv = take(rows_ * width_);
    work.mean = take(rows_ * config_.heads);
    work.inverse = take(rows_ * config_.heads);
    work.dlow = take(rows_ * shape_.rank);
    HeadMemory& head = memory_.head;
    head.dnormed = take(targets * channels_);
    head.mean = take(targets);
    head.inverse = take(targets);
  }

  const ModelConfig& config_;
  const MicroBatch& micro_;
  const StepShape& shape_;
  float* const base_;
  StepMemory& memory_;
  const std::size_t rows_, channels_, width_, kv_width_;
  std::size_t used_ = 0, pages_bytes_ = 0;
};

}  // namespace

std::size_t lay_out_step(const ModelConfig& config, const MicroBatch& micro, const StepShape& shape,
                         float* base, StepMemory* memory) {
  return Layout(config, micro, shape, base, memory).run();
}

}  // namespace troupe::model
