#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/config.h>

// What differs between model families: how their configuration is read, what their tensors are
// called, and how their layers compute. One file a family and one row in table.cpp; used by config
// and transformer, which do everything that families share.

namespace troupe::model {

struct StepContext;  // model/step.h

// A tensor that a stage needs. rows == 0: a vector of `columns` f32 (norm weights, biases).
struct TensorSpec {
  std::string name;
  std::size_t rows = 0, columns = 0;
};

struct Family {
  std::string_view name;  // as general.architecture spells it
  // The fields of a GGUF header; transformer-wide checks follow in config_from_gguf.
  Result<ModelConfig> (*read_gguf)(const GgufHeader& header);
  // In the order in which the family's code addresses them.
  std::vector<TensorSpec> (*layer_tensors)(const ModelConfig& config, std::size_t layer);
  // Runs the stage's layers on the rows of the step, x -> x; called by every thread of the pool at
  // once (SPMD), returns after a barrier.
  void (*run_layers)(StepContext& step, int thread);
};

// nullptr when no family has this name.
const Family* find_family(std::string_view name);
std::span<const Family> families();

extern const Family kLlamaFamily;

}  // namespace troupe::model
