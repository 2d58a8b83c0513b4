#include <cmath>

#include <troupe/runtime/numerics/derivatives.h>
#include <troupe/runtime/numerics/elementary.h>

namespace troupe {

float sigmoid_bits(float x) { return 1.0f / (1.0f + exp_bits(-x)); }

float silu_slope_bits(float x, float s) { return s * std::fma(x, 1.0f - s, 1.0f); }

// u = sqrt(2/pi) (x + 0.044715 x^3), t = tanh(u): (1 + t)/2 + x/2 (1 - t^2) u'.
float gelu_tanh_slope_bits(float x) {
  const float square = x * x;
  const float inner = std::fma(square * 0.044715f, x, x);
  const float t = tanh_bits(0.79788456f * inner);
  const float slope = 0.79788456f * std::fma(square, 0.134145f, 1.0f);
  const float rest = 0.5f * x * std::fma(-t, t, 1.0f) * slope;
  return std::fma(0.5f, t, 0.5f) + rest;
}

// (1 + erf(x / sqrt(2)))/2 + x exp(-x^2/2) / sqrt(2 pi).
float gelu_erf_slope_bits(float x) {
  const float half = std::fma(0.5f, erf_bits(x * 0.70710678f), 0.5f);
  return std::fma(x * 0.39894228f, exp_bits(x * x * -0.5f), half);
}

}  // namespace troupe
