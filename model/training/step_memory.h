#pragma once

#include <cstddef>
#include <vector>

#include <troupe/model/training/head.h>
#include <troupe/model/training/layer.h>
#include <troupe/model/training/micro_batch.h>

// Where the arrays of a micro-batch's step lie in one piece of memory. One function lays them out,
// and says beforehand how much memory they need.

namespace troupe::model {

struct StepShape {
  bool backward = false;  // there is a backward pass
  // If true, each layer keeps what its backward pass needs; otherwise it keeps only its input, and
  // all layers share the rest.
  bool keeps = false;
  std::size_t rank = 0;          // the largest of the adapters
  bool drops = false;            // the inputs of adapters have dropout
  bool needs_all_logits = true;  // see slice_rows
};

struct StepMemory {
  std::vector<LayerActivations> activations;  // of each layer
  LayerWorkspace work;
  HeadMemory head;
  float* embedded = nullptr;  // the sums of embeddings before their norm, if there is one
  float *result = nullptr, *dx = nullptr;
  std::vector<std::vector<std::size_t>> page_offsets;  // [example][page], in bytes
  std::size_t page_bytes = 0;
};

// Lays out the arrays from `base` on, and returns the number of floats that they need. If `base` is
// null, only this number is of use.
std::size_t lay_out_step(const ModelConfig& config, const MicroBatch& micro, const StepShape& shape,
                         float* base, StepMemory* memory);

}  // namespace troupe::model
