#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <troupe/model/config/model_config.h>

// The rotations of rotary position embeddings: cos and sin of position * frequency, computed in
// double and rounded to f32 once. The owner of a stage grows the table between steps; every thread
// reads it inside a step. Source: Su et al. 2021, eq. 15.

namespace troupe::model {

// Returns theta^(-2i / rotary_dim) for every pair i, scaled as the model says; each is at most 1.
// `factors` has a divisor of at least 1 for each pair, or is empty if the model has none.
//   Source of kLlama3 and kYarn: transformers, modeling_rope_utils.py.
std::vector<double> rope_frequencies(const ModelConfig& config, std::span<const float> factors);
// Returns the frequencies of layers with a window, if these have a base of their own.
std::vector<double> window_rope_frequencies(const ModelConfig& config);

class RopeTable {
 public:
  // `magnitude` multiplies every cos and sin.
  explicit RopeTable(std::vector<double> frequencies, double magnitude = 1.0)
      : frequencies_(std::move(frequencies)), magnitude_(magnitude) {}
  // Makes positions [0, count) readable. It allocates, so it must not be called inside a step.
  void grow(std::size_t count);
  // Returns (rotary_dim / 2, 2) f32: cos and sin of every pair at `position`.
  const float* at(std::size_t position) const {
    return blocks_[position / kBlockPositions].get() +
           position % kBlockPositions * 2 * frequencies_.size();
  }

 private:
  static constexpr std::size_t kBlockPositions = 256;
  std::vector<double> frequencies_;  // of each pair
  double magnitude_ = 1.0;
  std::vector<std::unique_ptr<float[]>> blocks_;  // kBlockPositions positions each
};

}  // namespace troupe::model
