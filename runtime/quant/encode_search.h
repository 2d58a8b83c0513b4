#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <troupe/runtime/numerics/half.h>

// Finds the scales of a quantized block: those with the least squared error among the ones that
// were tried. All arithmetic is on f32 and double in a fixed order, without libm, so that the same
// values always become the same bytes. For encode_*.cpp. Pure.

namespace troupe::quant {

constexpr std::size_t kSuperblock = 256;
// Blocks whose values are all below this count as zeros: inverse scales would not be finite.
constexpr float kZeroBelow = 1e-30f;

// Rounds to the nearest integer, ties to even. |x| < 2^22.
inline int nearest_int(float x) {
  const float shifted = x + 12582912.0f;  // 1.5 * 2^23: the integer lies in the low bits
  std::int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  return (bits & 0x007fffff) - 0x00400000;
}
inline int nearest_between(float x, int low, int high) {
  // The comparison is made on floats, because x may be far outside the range of an int.
  return nearest_int(
      std::clamp(x, static_cast<float>(low) - 0.25f, static_cast<float>(high) + 0.25f));
}

inline float round_to_f16(float x) { return f16_to_f32(f32_to_f16(x)); }

// The values of formats whose codes stand for the integers from kLow to kHigh.
template <int kLow, int kHigh>
struct Integers {
  static constexpr int kExtreme = kLow;  // the value of the largest magnitude
  static constexpr int kTries = 9;       // scales to try on each side of the obvious one
  static int nearest(float x) { return nearest_between(x, kLow, kHigh); }
  static unsigned code(int value) { return static_cast<unsigned>(value - kLow); }
};

// The values of the IQ4 formats.
struct Iq4Numbers {
  static constexpr int kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
  static constexpr int kExtreme = kValues[0];
  static constexpr int kTries = 15;
  static unsigned index(float x) {
    unsigned at = 0;
    while (at < 15 && x * 2.0f > static_cast<float>(kValues[at] + kValues[at + 1])) ++at;
    return at;
  }
  static int nearest(float x) { return kValues[index(x)]; }
  static unsigned code(int value) { return index(static_cast<float>(value)); }
};

// Returns the scale d for x ~ d * q, with q among the values that a code stands for.
template <class Values>
float fit_scale(const float* x, std::size_t count) {
  float extreme = 0.0f;
  for (std::size_t i = 0; i < count; ++i)
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  if (std::abs(extreme) < kZeroBelow) return 0.0f;
  float best = 0.0f, scale = 0.0f;
  const auto attempt = [&](float inverse) {
    float xq = 0.0f, qq = 0.0f;
    for (std::size_t i = 0; i < count; ++i) {
      const auto q = static_cast<float>(Values::nearest(inverse * x[i]));
      xq += x[i] * q;
      qq += q * q;
    }
    // The squared error that the best scale for these q leaves is sum(x^2) - xq^2 / qq.
    if (qq <= 0.0f || xq * (xq / qq) <= best) return false;
    best = xq * (xq / qq);
    scale = xq / qq;
    return true;
  };
  const float step = static_cast<float>(-Values::kExtreme) / 80.0f;
  for (int i = -Values::kTries; i <= Values::kTries; ++i) {
    const float by = static_cast<float>(Values::kExtreme) + step * static_cast<float>(i);
    attempt(by / extreme);
    attempt(-by / extreme);
  }
  for (int round = 0; round < 3 && scale != 0.0f && attempt(1.0f / scale); ++round) {
  }
  return scale;
}

// The scales of x ~ d * q - m.
struct ScaleAndOffset {
  float d = 0.0f, m = 0.0f;
};

// Returns the scales with the least error for q in 0..high, where m is not negative.
inline ScaleAndOffset fit_scale_and_offset(const float* x, std::size_t count, int high) {
  float least = 0.0f, most = x[0];
  for (std::size_t i = 0; i < count; ++i) {
    least = std::min(least, x[i]);
    most = std::max(most, x[i]);
  }
  ScaleAndOffset best{0.0f, -least};
  if (most - least < kZeroBelow) return best;
  float best_error = 0.0f;
  for (std::size_t i = 0; i < count; ++i) best_error += (x[i] - least) * (x[i] - least);
  const auto n = static_cast<float>(count);
  const auto attempt = [&](float inverse, float offset) {
    float q1 = 0.0f, q2 = 0.0f, x1 = 0.0f, xq = 0.0f;
    for (std::size_t i = 0; i < count; ++i) {
      const auto q = static_cast<float>(nearest_between(inverse * (x[i] + offset), 0, high));
      q1 += q;
      q2 += q * q;
      x1 += x[i];
      xq += x[i] * q;
    }
    const float determinant = n * q2 - q1 * q1;
    if (determinant <= 0.0f) return false;
    ScaleAndOffset found{(n * xq - x1 * q1) / determinant, (q1 * xq - q2 * x1) / determinant};
    if (found.m < 0.0f) found = {q2 > 0.0f ? xq / q2 : 0.0f, 0.0f};
    if (!(found.d > 0.0f)) return false;
    float error = 0.0f;
    for (std::size_t i = 0; i < count; ++i) {
      const auto q = static_cast<float>(nearest_between((x[i] + found.m) / found.d, 0, high));
      const float off = found.d * q - found.m - x[i];
      error += off * off;
    }
    if (error >= best_error) return false;
    best_error = error;
    best = found;
    return true;
  };
  for (int i = -10; i <= 14; ++i)
    attempt((static_cast<float>(high) + 0.1f * static_cast<float>(i)) / (most - least), -least);
  for (int round = 0; round < 3 && best.d > 0.0f && attempt(1.0f / best.d, best.m); ++round) {
  }
  return best;
}

}  // namespace troupe::quant
