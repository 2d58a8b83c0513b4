#pragma once

#include <cstddef>

// What an optimizer does to arrays of parameters, element by element. Plain C++: every operation is
// rounded once, so that every CPU gives the same bits. Any thread; ranges may be split anywhere,
// but for the sum of squares, whose ranges make its shape.

namespace troupe::kernels {

// One step of AdamW for `count` values. The gradient is sums[i] / divisor * clip.
struct AdamWStep {
  float divisor = 1.0f, clip = 1.0f;
  float beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f;
  float keep = 1.0f;         // 1 - learning rate * weight decay
  float step_size = 0.0f;    // learning rate / (1 - beta1^t)
  float second_root = 1.0f;  // sqrt(1 - beta2^t)
};
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   w = keep w - step_size m / (sqrt(v) / second_root + epsilon)
// Source: Loshchilov & Hutter 2019, algorithm 2, as torch.optim.AdamW orders it.
void adamw(const AdamWStep& step, const float* sums, float* weights, float* m, float* v,
           std::size_t count);

// The gradient is as above; buffer = momentum buffer + g + decay w; w -= rate buffer. `buffer` may
// be null if momentum is 0. Source: torch.optim.SGD without dampening.
struct SgdStep {
  float divisor = 1.0f, clip = 1.0f;
  float rate = 0.0f, momentum = 0.0f, decay = 0.0f;
};
void sgd(const SgdStep& step, const float* sums, float* weights, float* buffer, std::size_t count);

// The sum of (sums[i] / divisor)^2 in double precision, over 16 partial sums and the lane rule's
// tree.
double squared_norm(const float* sums, float divisor, std::size_t count);

}  // namespace troupe::kernels
