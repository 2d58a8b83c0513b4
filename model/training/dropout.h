#pragma once

#include <cstddef>
#include <cstdint>

// Dropout of the input of an adapter: a value becomes 0 with the probability `rate`; otherwise it
// is divided by 1 - rate. The choice is a pure function of the seed, the epoch, the example's
// number in the data, the matrix, the position and the channel, so that micro-batches, threads and
// a resumed run draw the same. Source: Srivastava et al. 2014; before adapters: Hu et al. 2021.

namespace troupe::model {

struct DropoutOptions {
  double rate = 0.0;  // in [0, 1)
  std::uint64_t seed = 0;
};

// One row of the input of a matrix.
struct DropoutRow {
  std::uint64_t epoch = 0, example = 0;
  std::uint32_t matrix = 0;  // of the model: layer * kSlots + slot
  std::uint32_t position = 0;
};

// out[c] = dropped x[c], or out[c] += it, of `channels` values. out may alias x.
void drop_row(const DropoutOptions& options, const DropoutRow& row, const float* x,
              std::size_t channels, bool accumulate, float* out);

}  // namespace troupe::model
