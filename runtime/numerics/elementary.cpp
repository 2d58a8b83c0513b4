#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <troupe/runtime/numerics/elementary.h>

namespace troupe {

// exp(x) = 2^k * exp(r), k = round(x / ln 2), r = x - k ln 2 in two steps; exp(r) by Cephes' expf
// polynomial. Each target follows this sequence operation by operation.
float exp_bits(float x) {
  float v = -87.0f > x ? -87.0f : x;  // these comparisons let NaN through, as maxps and minps do
  v = 88.0f < v ? 88.0f : v;
  const float shifted = std::fma(v, 1.44269504f, 12582912.0f);  // 1.5 * 2^23: the sum rounds to k
  const float k = shifted - 12582912.0f;
  float r = std::fma(k, -0.693145752f, v);
  r = std::fma(k, -1.42860677e-6f, r);
  float p = 1.9875691e-4f;
  p = std::fma(p, r, 1.3981999e-3f);
  p = std::fma(p, r, 8.3334519e-3f);
  p = std::fma(p, r, 4.1665795e-2f);
  p = std::fma(p, r, 1.6666665e-1f);
  p = std::fma(p, r, 5.0000001e-1f);
  p = std::fma(p, r * r, r);
  p = p + 1.0f;
  const std::uint32_t exponent = std::bit_cast<std::uint32_t>(shifted) - 0x4b400000u + 127u;
  return p * std::bit_cast<float>(exponent << 23);
}

// Near zero a polynomial (Cephes' tanhf), else 1 - 2 / (exp(2|x|) + 1) with the sign of x.
float tanh_bits(float x) {
  const float a = std::fabs(x);
  if (a < 0.625f) {
    const float z = x * x;
    float p = -5.70498872745e-3f;
    p = std::fma(p, z, 2.06390887954e-2f);
    p = std::fma(p, z, -5.37397155531e-2f);
    p = std::fma(p, z, 1.33314422036e-1f);
    p = std::fma(p, z, -3.33332819422e-1f);
    return std::fma(p * z, x, x);
  }
  return std::copysign(1.0f - 2.0f / (exp_bits(a + a) + 1.0f), x);
}

// erf(x) = x P(x^2) / Q(x^2) on [-4, 4], beyond which it is 1, apart from a rounding: the rational
// function of these degrees with the least relative error (6.6e-8), fitted for this file.
float erf_bits(float x) {
  float v = -4.0f > x ? -4.0f : x;  // these comparisons let NaN through, as maxps and minps do
  v = 4.0f < v ? 4.0f : v;
  const float z = v * v;
  float p = 1.9107786e-8f;
  p = std::fma(p, z, -1.941934e-6f);
  p = std::fma(p, z, 1.4724557e-4f);
  p = std::fma(p, z, 3.9893378e-3f);
  p = std::fma(p, z, 5.1521368e-2f);
  p = std::fma(p, z, 2.0710001e-1f);
  p = std::fma(p, z, 1.1283791f);
  float q = 1.0207746e-3f;
  q = std::fma(q, z, 1.4955738e-2f);
  q = std::fma(q, z, 1.1796014e-1f);
  q = std::fma(q, z, 5.1686886e-1f);
  q = std::fma(q, z, 1.0f);
  return v * p / q;
}

float gelu_tanh_bits(float x) {
  const float inner = std::fma(x * x * 0.044715f, x, x);
  return 0.5f * x * (1.0f + tanh_bits(0.79788456f * inner));
}

float gelu_erf_bits(float x) { return 0.5f * x * (1.0f + erf_bits(x * 0.70710678f)); }

// log(x) = e ln 2 + 2 atanh((m - 1) / (m + 1)), x = m * 2^e, m in [sqrt(1/2), sqrt(2)); in double
// precision, so that the rounding to float is the only error.
float log_bits(float x) {
  if (std::isnan(x) || x < 0.0f) return std::numeric_limits<float>::quiet_NaN();
  if (x == 0.0f) return -std::numeric_limits<float>::infinity();
  if (std::isinf(x)) return x;
  const auto bits = std::bit_cast<std::uint64_t>(static_cast<double>(x));
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffu) | 0x3ff0000000000000u);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double z = (m - 1.0) / (m + 1.0), square = z * z;
  double series = 1.0 / 19.0;
  for (int odd = 17; odd >= 1; odd -= 2) series = series * square + 1.0 / odd;
  return static_cast<float>(exponent * 0.6931471805599453 + 2.0 * z * series);
}

}  // namespace troupe
