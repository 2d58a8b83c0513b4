#pragma once

#include <cstddef>

// The updates of an optimizer to arrays of parameters, element by element. Plain C++: every
// operation is rounded once, so that every CPU gives the same bits. Any thread; ranges may be split
// anywhere, except those of the sum of squares, which decide its shape.

namespace troupe::kernels {

// One step of AdamW for `count` values. The gradient is sums[i] * gradient_scale. The bias
// correction of the second moment is folded into step_size and epsilon: what is the same for all
// values is divided once, in double precision, so that only one division is left for each value.
struct AdamWStep {
  float gradient_scale = 1.0f;  // clip / divisor
  float beta1 = 0.9f, beta2 = 0.999f;
  float keep = 1.0f;       // 1 - learning rate * weight decay
  float step_size = 0.0f;  // learning rate * sqrt(1 - beta2^t) / (1 - beta1^t)
  float epsilon = 1e-8f;   // epsilon * sqrt(1 - beta2^t)
};
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   w = keep w - step_size m / (sqrt(v) + epsilon)
// Source: Loshchilov & Hutter 2019, algorithm 2, in the order of operations that Kingma & Ba 2015
// give at the end of their section 2.
void adamw(const AdamWStep& step, const float* sums, float* weights, float* m, float* v,
           std::size_t count);

// The gradient is as above; buffer = momentum buffer + g + decay w; w -= rate buffer. `buffer` may
// be null if momentum is 0. Source: torch.optim.SGD without dampening.
struct SgdStep {
  float gradient_scale = 1.0f;
  float rate = 0.0f, momentum = 0.0f, decay = 0.0f;
};
void sgd(const SgdStep& step, const float* sums, float* weights, float* buffer, std::size_t count);

// The sum of values' squares in double precision, over 16 partial sums and the lane rule's tree.
// Values that are 0 may be left out in whole sixteens: the sum has the same bits.
class SquareSum {
 public:
  // Adds sums[0] to sums[count - 1]. `count` is a multiple of 16 but for the last call.
  void add(const float* sums, std::size_t count);
  double total() const;

 private:
  double partial_[16] = {};
};

}  // namespace troupe::kernels
