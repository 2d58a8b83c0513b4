#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <troupe/model/training/parameters.h>

// Low-rank adapters of a whole model: which matrices get one, and how they begin.

namespace troupe::model {

struct LoraOptions {
  std::size_t rank = 0;          // 0: no adapters, every weight is trained
  double alpha = 0.0;            // 0: twice the rank
  bool rank_stabilized = false;  // the scale is alpha / sqrt(rank) instead of alpha / rank
  // The matrices: q, k, v, o, gate, up, down, or their names in the model's folder (q_proj,
  // attention.self.query); "all-linear" stands for all matrices of the layers.
  std::vector<std::string> targets = {"all-linear"};
  std::uint64_t seed = 0;
  // The fraction of an adapter's input that is set to 0 in training (dropout.h), drawn by the seed.
  double dropout = 0.0;

  double alpha_value() const { return alpha != 0.0 ? alpha : 2.0 * static_cast<double>(rank); }
  float scale() const;
};

// Freezes the model except for a classifier's last matrix and bias, which are trained with an
// adapter.
void freeze_for_adapters(Parameters& parameters);

// Freezes the model as freeze_for_adapters() does, and adds an adapter to each target. A is drawn
// uniformly from -1/sqrt(inputs) to 1/sqrt(inputs) by (seed, adapter, element), like PEFT's
// default; B is zero.
//   Errors: as lora_targets.
Status add_lora(const ModelConfig& config, const LoraOptions& options, Parameters& parameters);

// Returns the matrices that the options name, each once, in the model's order.
//   Errors: kInvalidArgument naming a target that the model does not have, with those it has, or a
//   matrix for which the rank is too large.
Result<std::vector<TensorSpec>> lora_targets(const ModelConfig& config, const LoraOptions& options);

// Returns the name of a layer's matrix in the model's folder without the prefix of the layer:
// "self_attn.q_proj".
std::string lora_module(const ModelConfig& config, const TensorSpec& spec);
// Returns the matrices of the layers that can have an adapter, by lora_module, each once.
std::vector<std::string> lora_modules(const ModelConfig& config);

// Adds all adapters onto the weights, on all threads, and leaves them without effect (B is zero).
void merge_adapters(Parameters& parameters, ThreadPool& pool);

}  // namespace troupe::model
