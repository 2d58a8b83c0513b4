#pragma once

#include <cstddef>

// The backward passes of the norms, row by row. Sums over channels are 16 partial sums and the lane
// rule's tree, of products that are rounded before they are added, so that plain C++ gives the same
// bits on every CPU. The weights' gradients follow from the rows' statistics (column_sums.h).

namespace troupe::kernels {

// For rows [row_begin, row_end) of x, dy (rows, channels) dense, with x^ = x * inverse and
// g = dy * weight:  dx = inverse (g - x^ mean(g x^)), or dx += that when `accumulate`.
//   inverse[row] = 1 / sqrt(mean(x^2) + eps) is written for the gradient of the weight.
//   dx may alias dy unless `accumulate`.
void rms_norm_backward(const float* x, const float* weight, const float* dy, float eps,
                       std::size_t channels, std::size_t row_begin, std::size_t row_end,
                       bool accumulate, float* inverse, float* dx);
// Does the same for layer norm, with x^ = (x - mean) * inverse:
//   dx = inverse (g - mean(g) - x^ mean(g x^)). mean[row] is written, too.
void layer_norm_backward(const float* x, const float* weight, const float* dy, float eps,
                         std::size_t channels, std::size_t row_begin, std::size_t row_end,
                         bool accumulate, float* mean, float* inverse, float* dx);

}  // namespace troupe::kernels
