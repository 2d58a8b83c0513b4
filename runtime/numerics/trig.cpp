#include <bit>
#include <cmath>
#include <cstdint>
#include <string>

#include <troupe/runtime/numerics/trig.h>
#include <troupe/runtime/status.h>

namespace troupe {
namespace {

constexpr double kAngleMax = 1048576.0;
constexpr double kRoundToInteger = 6755399441055744.0;  // 1.5 * 2^52

// Returns the nearest integer, ties to even; exact for |x| < 2^51.
double nearest(double x) { return (x + kRoundToInteger) - kRoundToInteger; }

// Taylor series on [-pi/4, pi/4]; the first term left out is below 1e-19.
double sin_near_zero(double x) {
  const double square = x * x;
  double sum = 1.0;
  for (int n = 18; n >= 2; n -= 2) sum = 1.0 - square / (n * (n + 1.0)) * sum;
  return x * sum;
}

double cos_near_zero(double x) {
  const double square = x * x;
  double sum = 1.0;
  for (int n = 19; n >= 1; n -= 2) sum = 1.0 - square / (n * (n + 1.0)) * sum;
  return sum;
}

double exponential(double x) {
  const double k = nearest(x * 1.4426950408889634);
  const double r = (x - k * 0x1.62e42feep-1) - k * 0x1.a39ef35793c76p-33;
  double sum = 1.0;
  for (int n = 18; n >= 1; --n) sum = 1.0 + r / n * sum;
  const auto scale = static_cast<std::uint64_t>(static_cast<std::int64_t>(k) + 1023) << 52;
  return sum * std::bit_cast<double>(scale);
}

}  // namespace

// x = mantissa * 2^exponent with the mantissa in [sqrt(1/2), sqrt(2)); then the atanh series.
double natural_log(double x) {
  const auto bits = std::bit_cast<std::uint64_t>(x);
  int exponent = static_cast<int>(bits >> 52) - 1023;
  double mantissa = std::bit_cast<double>((bits & 0x000fffffffffffffull) | 0x3ff0000000000000ull);
  if (mantissa > 1.4142135623730951) {
    mantissa *= 0.5;
    exponent += 1;
  }
  const double t = (mantissa - 1.0) / (mantissa + 1.0);
  const double square = t * t;
  double sum = 0.0;
  for (int n = 25; n >= 1; n -= 2) sum = sum * square + 1.0 / n;
  // ln 2 in two parts, the first short enough that its product with the exponent is exact.
  return exponent * 0x1.62e42feep-1 + (exponent * 0x1.a39ef35793c76p-33 + 2.0 * t * sum);
}

SinCos sin_cos(double angle) {
  TROUPE_CHECK(angle >= -kAngleMax && angle <= kAngleMax, std::to_string(angle));
  // angle - k * pi/2 with pi/2 in three parts of 33, 33 and 53 bits: the first two products are
  // exact for the k that can occur.
  const double k = nearest(angle * 0x1.45f306dc9c883p-1);
  const double r =
      ((angle - k * 0x1.921fb544p+0) - k * 0x1.0b4611a6p-34) - k * 0x1.3198a2e037073p-69;
  const double s = sin_near_zero(r);
  const double c = cos_near_zero(r);
  switch (static_cast<std::int64_t>(k) & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

double power(double base, double exponent) {
  TROUPE_CHECK(base >= 0x1p-60 && base <= 0x1p60, std::to_string(base));
  TROUPE_CHECK(exponent >= -16.0 && exponent <= 16.0, std::to_string(exponent));
  return exponential(exponent * natural_log(base));
}

}  // namespace troupe
