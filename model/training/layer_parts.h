#pragma once

#include <troupe/model/training/layer.h>

// What the forward and the backward pass of a layer share. For layer_*.cpp only.

namespace troupe::model {

class LayerView {
 public:
  LayerView(LayerStep& step, std::size_t layer, const LayerActivations& keep, int thread)
      : step(step),
        config(step.config),
        team(step.team),
        batch(step.batch),
        work(step.work),
        keep(keep),
        layer(layer),
        thread(thread),
        first_only(is_first_only(step.config, layer)),
        rows(step.batch.rows),
        rows_out(model::rows_out(step.config, step.batch, layer)),
        channels(config.channels),
        width(config.heads * config.head_dim),
        kv_width(config.kv_heads * config.head_dim),
        gated(config.gated()) {}

  const Weight& weight(std::size_t slot) const {
    return step.parameters.weights().layers[layer][slot];
  }
  Parameter* parameter(std::size_t slot) const { return step.parameters.find(layer, slot); }
  // Returns the parameter of a slot if it is trained, else nullptr.
  Parameter* trained(std::size_t slot) const { return step.parameters.trained(layer, slot); }
  Adapter* adapter(std::size_t slot) const { return step.parameters.adapter(layer, slot); }
  // out = W x + bias, or out += it, for the matrix and the bias of a slot, with its adapter.
  void multiply(std::size_t slot, RowsOfFloats x, float* out, bool accumulate = false) const;
  // dx = the gradient of x from that of the output, or dx += it.
  void multiply_back(std::size_t slot, RowsOfFloats dy, float* dx, bool accumulate) const;
  // Returns the input of a slot's adapter: x itself or, in training with dropout, work.dropped.
  RowsOfFloats adapter_input(std::size_t slot, RowsOfFloats x) const;
  // out = x with the dropout of a slot's input, or out += it. With a barrier.
  void drop(std::size_t slot, RowsOfFloats x, bool accumulate, float* out) const;
  // out = norm(x) for this thread's share of `count` rows. No barrier.
  void norm_share(std::size_t slot, const float* x, std::size_t count, float* out) const;
  void norm(std::size_t slot, const float* x, std::size_t count, float* out) const {
    norm_share(slot, x, count, out);
    team.barrier(thread);
  }
  // to[e] = from's first row of example e, for all examples; with a barrier.
  void gather_first(const float* from, float* to) const;
  // Copies this thread's share of `count` values. No barrier.
  void copy_share(const float* from, float* to, std::size_t count) const;
  // Returns the pages of an example's keys and values in this layer.
  std::vector<const std::byte*> pages(std::size_t example) const;
  std::byte* page(std::size_t example, std::size_t position) const {
    return keep.pages + step.page_offsets[example][position / kernels::kPageKeys];
  }
  std::size_t window() const { return layer >= config.window_begin ? config.window : 0; }
  float scale() const;
  // These return the inputs of q, of the residual stream and of the feed-forward network.
  const float* input_out() const { return first_only ? work.first : keep.x; }
  const float* normed_out() const {
    if (config.post_norm) return input_out();
    return first_only ? work.first_normed : work.normed;
  }
  const float* normed_all() const { return config.post_norm ? keep.x : work.normed; }
  // Makes these inputs from keep.x.
  void prepare_inputs() const;
  // Makes the input of the feed-forward network from keep.middle, and returns it.
  const float* feed_forward_input() const;

  LayerStep& step;
  const ModelConfig& config;
  Team& team;
  const MicroBatch& batch;
  const LayerWorkspace& work;
  const LayerActivations& keep;
  const std::size_t layer;
  const int thread;
  const bool first_only;
  const std::size_t rows, rows_out, channels, width, kv_width;
  const bool gated;
};

}  // namespace troupe::model
