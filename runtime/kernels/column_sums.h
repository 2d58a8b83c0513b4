#pragma once

#include <cstddef>

#include <troupe/runtime/kernels/sum_steps.h>

// Sums over rows of each column: the gradients of biases and of norms' weights. Plain C++: lanes
// are columns, and each operation is exact or rounded once, so that every CPU gives the same bits.

namespace troupe::kernels {

// Writes, through the stack of `sum`, the sums over rows of a[row][c] for columns
// [column_begin, column_end), of a (rows, columns) dense. `column_begin` is a multiple of 16, and
// each entry of the stack has room for the columns rounded up to a multiple of 16.
void column_sums(const float* a, std::size_t columns, const GradientSum& sum,
                 std::size_t column_begin, std::size_t column_end);
// Does the same with a[row][c] * (x[row][c] - mean[row]) * inverse[row]: the gradient of a norm's
// weight from that of the norm's result. `mean` is null if the norm subtracts none.
void normed_column_sums(const float* a, const float* x, const float* mean, const float* inverse,
                        std::size_t columns, const GradientSum& sum, std::size_t column_begin,
                        std::size_t column_end);

}  // namespace troupe::kernels
