#pragma once

#include <cstddef>
#include <vector>

#include <troupe/model/training/dropout.h>
#include <troupe/model/training/micro_batch.h>
#include <troupe/model/training/team.h>
#include <troupe/model/transformer/rope_table.h>

// One layer of a training step, forward and backward, for all rows of a micro-batch. The forward
// pass has the bits of transformer/block.cpp: the same kernels, in the same order for each output.
// It keeps whatever the backward pass cannot cheaply compute again; norms, activations and
// probabilities are recomputed.
//
// T is the number of rows. R is the number of rows that leave the layer: T, or one for each example
// in the last layer of an encoder whose head reads only that one. C, H, K, D and F as in
// step_context.h.

namespace troupe::model {

// What a layer keeps from its forward pass.
struct LayerActivations {
  float* x = nullptr;      // (T,C): the input
  float* q = nullptr;      // (R,H*D): normed and rotated
  float* q_raw = nullptr;  // (R,H*D), (T,K*D): before the norm of heads, if there is one
  float* k_raw = nullptr;
  float* attended = nullptr;   // (R,H*D)
  float* middle = nullptr;     // (R,C): the sum after attention
  float* gate = nullptr;       // (R,F): before the activation; without a gate, its input
  float* up = nullptr;         // (R,F), if there is a gate
  float* sum = nullptr;        // (R,C): the sum after the feed-forward network, with post_norm
  std::byte* pages = nullptr;  // the keys and values of all examples, f32
};

// Memory that the layers of a step use one after the other.
struct LayerWorkspace {
  float* normed = nullptr;  // (T,C)
  float* first = nullptr;   // (R,C): the first rows of the examples
  float* first_normed = nullptr;
  float* k = nullptr;  // (T,K*D); then dk
  float* v = nullptr;
  float* h = nullptr;   // (R,F); then its gradient
  float* dn = nullptr;  // (T,C)
  float* da = nullptr;  // (R,H*D)
  float* dq = nullptr;
  float* dk = nullptr;  // (T,H*D): of each query head
  float* dv = nullptr;
  float* dmiddle = nullptr;                   // (R,C)
  float *mean = nullptr, *inverse = nullptr;  // (T * max(H, 1)): statistics of norms
  float *low = nullptr, *dlow = nullptr;      // (T, largest rank): scale * A x of an adapter, and
                                              // its gradient times the scale
  float* dropped = nullptr;  // (T, most inputs of a matrix): the input of an adapter, after dropout
};

// True if `layer` computes only the first row of each example.
inline bool is_first_only(const ModelConfig& config, std::size_t layer) {
  return !config.has_row_logits() && config.labels > 0 && layer + 1 == config.layers;
}
// Returns the number of rows that leave a layer.
inline std::size_t rows_out(const ModelConfig& config, const MicroBatch& batch, std::size_t layer) {
  return is_first_only(config, layer) ? batch.examples.size() : batch.rows;
}

// What all layers of a step share.
struct LayerStep {
  const ModelConfig& config;
  Parameters& parameters;
  Team& team;
  const RopeTable& rope;
  const MicroBatch& batch;
  LayerWorkspace work;
  std::vector<std::vector<std::size_t>> page_offsets;  // [example][page], in bytes
  std::size_t page_bytes = 0;
  // The first layer in which something is trained, or the number of layers. The backward pass ends
  // there if no embedding is trained.
  std::size_t first_trained = 0;
  bool trains_embeddings = true;
  // The dropout of the inputs of adapters; nullptr means none.
  const DropoutOptions* dropout = nullptr;

  // True if the gradient of the layer's input is needed.
  bool needs_input_gradient(std::size_t layer) const {
    return trains_embeddings || layer > first_trained;
  }
};

// out (R,C) = the layer's output. Called by every thread of the team.
void layer_forward(LayerStep& step, std::size_t layer, const LayerActivations& keep, float* out,
                   int thread);
// Adds to the gradients of the layer's parameters, and turns dx, the gradient of the output (R,C),
// into that of the input (T,C). Overwrites keep.gate and keep.up.
void layer_backward(LayerStep& step, std::size_t layer, const LayerActivations& keep, float* dx,
                    int thread);

}  // namespace troupe::model
