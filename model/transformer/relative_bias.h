#pragma once

#include <cstddef>
#include <vector>

#include <troupe/model/config/model_config.h>
#include <troupe/runtime/kernels/packed_matrix.h>

// The value that each head adds to the score of a key for its distance from the row (ModelConfig's
// relative_buckets), for every distance. Immutable; any thread may read.
// Source: Raffel et al. 2020, section 2.1; the buckets are those of transformers' MPNet
// (modeling_mpnet.py, relative_position_bucket), which reach 128 positions.

namespace troupe::model {

// Returns the bucket of a key that lies `distance` positions behind the row (negative: before it).
std::size_t relative_bucket(std::ptrdiff_t distance, std::size_t buckets);

class RelativeBias {
 public:
  // table: (buckets, heads), a row for each bucket. The object is empty if the model has no
  // buckets.
  RelativeBias(const ModelConfig& config, const kernels::PackedMatrix& table);
  // Returns (H, 2 * reach + 1) as kernels::AttentionArgs has it; null if there are none.
  const float* values() const { return values_.empty() ? nullptr : values_.data(); }
  // Returns the distance from which on all keys have the same value.
  std::size_t reach() const { return reach_; }

 private:
  std::size_t reach_ = 0;
  std::vector<float> values_;
};

}  // namespace troupe::model
