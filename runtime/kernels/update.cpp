#include <algorithm>
#include <cmath>

#include <troupe/runtime/kernels/update.h>

namespace troupe::kernels {

void adamw(const AdamWStep& step, const float* sums, float* weights, float* m, float* v,
           std::size_t count) {
  const AdamWStep s = step;
  const float rest1 = 1.0f - s.beta1, rest2 = 1.0f - s.beta2;
  for (std::size_t i = 0; i < count; ++i) {
    const float g = sums[i] * s.gradient_scale;
    const float first = s.beta1 * m[i] + rest1 * g;
    const float second = s.beta2 * v[i] + rest2 * (g * g);
    m[i] = first;
    v[i] = second;
    weights[i] = s.keep * weights[i] - s.step_size * first / (std::sqrt(second) + s.epsilon);
  }
}

void sgd(const SgdStep& step, const float* sums, float* weights, float* buffer, std::size_t count) {
  const SgdStep s = step;
  if (buffer == nullptr) {
    for (std::size_t i = 0; i < count; ++i)
      weights[i] -= s.rate * (sums[i] * s.gradient_scale + s.decay * weights[i]);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    buffer[i] = s.momentum * buffer[i] + (sums[i] * s.gradient_scale + s.decay * weights[i]);
    weights[i] -= s.rate * buffer[i];
  }
}

void SquareSum::add(const float* sums, std::size_t count) {
  double partial[16];
  std::copy_n(partial_, 16, partial);
  const std::size_t whole = count / 16 * 16;
  for (std::size_t i = 0; i < whole; i += 16)
    for (std::size_t lane = 0; lane < 16; ++lane) {
      const auto g = static_cast<double>(sums[i + lane]);
      partial[lane] += g * g;
    }
  for (std::size_t i = whole; i < count; ++i) {
    const auto g = static_cast<double>(sums[i]);
    partial[i - whole] += g * g;
  }
  std::copy_n(partial, 16, partial_);
}

double SquareSum::total() const {
  double partial[16];
  std::copy_n(partial_, 16, partial);
  for (std::size_t apart = 8; apart > 0; apart /= 2)
    for (std::size_t i = 0; i < apart; ++i) partial[i] += partial[i + apart];
  return partial[0];
}

}  // namespace troupe::kernels
