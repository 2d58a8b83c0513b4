#pragma once

#include <cstddef>

#include <troupe/runtime/kernels/packed_matrix.h>

// Groups of a transposed or dequantized matrix, made when they are needed, so that no second copy
// of the weights lies in memory: the backward pass of a product multiplies by W^T. Pure copying.

namespace troupe::kernels {

// out = columns [16 * group_begin, 16 * group_end) of rows [row_begin, row_end) of w, as a packed
// matrix of kF32 with a row for each of these columns of w. `row_begin` is a multiple of 16. The
// memory of `out` must be there: `out->data` holds at least its groups.
void transpose_groups(const PackedMatrix& w, std::size_t row_begin, std::size_t row_end,
                      std::size_t group_begin, std::size_t group_end, PackedMatrix* out);

// out = groups [group_begin, group_end) of w as kF32, with room for at least these. Groups of the
// result lie in the order of w, from `group_begin` on.
void dequantize_groups(const PackedMatrix& w, std::size_t group_begin, std::size_t group_end,
                       float* out);

// Returns w with its values as kF32.
PackedMatrix dequantized(const PackedMatrix& w);

}  // namespace troupe::kernels
