#include <cmath>

#include <troupe/runtime/kernels/norm_backward.h>

namespace troupe::kernels {
namespace {

// Returns the sum over channels of value(c): 16 partial sums and one tree.
template <class Value>
float channel_sum(std::size_t channels, Value value) {
  float partial[16] = {};
  const std::size_t whole = channels / 16 * 16;
  for (std::size_t c = 0; c < whole; c += 16)
    for (std::size_t i = 0; i < 16; ++i) partial[i] += value(c + i);
  for (std::size_t c = whole; c < channels; ++c) partial[c - whole] += value(c);
  for (std::size_t apart = 8; apart > 0; apart /= 2)
    for (std::size_t i = 0; i < apart; ++i) partial[i] += partial[i + apart];
  return partial[0];
}

}  // namespace

void rms_norm_backward(const float* x, const float* weight, const float* dy, float eps,
                       std::size_t channels, std::size_t row_begin, std::size_t row_end,
                       bool accumulate, float* inverse, float* dx) {
  const auto count = static_cast<float>(channels);
  for (std::size_t row = row_begin; row < row_end; ++row) {
    const float *in = x + row * channels, *gradient = dy + row * channels;
    float* out = dx + row * channels;
    const float mean = channel_sum(channels, [&](std::size_t c) { return in[c] * in[c]; }) / count;
    const float scale = 1.0f / std::sqrt(mean + eps);
    const float dot =
        channel_sum(channels,
                    [&](std::size_t c) { return gradient[c] * weight[c] * (in[c] * scale); }) /
        count;
    for (std::size_t c = 0; c < channels; ++c) {
      const float value = scale * (gradient[c] * weight[c] - in[c] * scale * dot);
      out[c] = accumulate ? out[c] + value : value;
    }
    inverse[row] = scale;
  }
}

void layer_norm_backward(const float* x, const float* weight, const float* dy, float eps,
                         std::size_t channels, std::size_t row_begin, std::size_t row_end,
                         bool accumulate, float* mean, float* inverse, float* dx) {
  const auto count = static_cast<float>(channels);
  for (std::size_t row = row_begin; row < row_end; ++row) {
    const float *in = x + row * channels, *gradient = dy + row * channels;
    float* out = dx + row * channels;
    const float middle = channel_sum(channels, [&](std::size_t c) { return in[c]; }) / count;
    const float variance =
        channel_sum(channels, [&](std::size_t c) { return (in[c] - middle) * (in[c] - middle); }) /
        count;
    const float scale = 1.0f / std::sqrt(variance + eps);
    const float sum =
        channel_sum(channels, [&](std::size_t c) { return gradient[c] * weight[c]; }) / count;
    const float dot = channel_sum(channels,
                                  [&](std::size_t c) {
                                    return gradient[c] * weight[c] * ((in[c] - middle) * scale);
                                  }) /
                      count;
    for (std::size_t c = 0; c < channels; ++c) {
      const float normed = (in[c] - middle) * scale;
      const float value = scale * (gradient[c] * weight[c] - sum - normed * dot);
      out[c] = accumulate ? out[c] + value : value;
    }
    mean[row] = middle;
    inverse[row] = scale;
  }
}

}  // namespace troupe::kernels
