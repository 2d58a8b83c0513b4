#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <troupe/model/config/model_config.h>

// The rotations of rotary position embeddings: cos and sin of position * frequency, in double,
// rounded to f32 once. Grown between steps by the owner of a stage; read by every thread inside a
// step. Source: Su et al. 2021, eq. 15.

namespace troupe::model {

// theta^(-2i / rotary_dim) of every pair i, scaled as the model says; at most 1. `factors`: one a
// pair that divides it, at least 1; empty when the model has none.
//   Source of kLlama3: transformers, modeling_rope_utils.py, _compute_llama3_parameters.
std::vector<double> rope_frequencies(const ModelConfig& config, std::span<const float> factors);

class RopeTable {
 public:
  explicit RopeTable(std::vector<double> frequencies) : frequencies_(std::move(frequencies)) {}
  // Afterwards positions [0, count) can be read. Allocates; not inside a step.
  void grow(std::size_t count);
  // (rotary_dim / 2, 2) f32: cos, sin of every pair at `position`.
  const float* at(std::size_t position) const {
    return blocks_[position / kBlockPositions].get() +
           position % kBlockPositions * 2 * frequencies_.size();
  }

 private:
  static constexpr std::size_t kBlockPositions = 256;
  std::vector<double> frequencies_;               // of each pair
  std::vector<std::unique_ptr<float[]>> blocks_;  // kBlockPositions positions each
};

}  // namespace troupe::model
