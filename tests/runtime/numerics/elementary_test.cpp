#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include <catch2/catch.hpp>

#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/numerics/elementary.h>
#include <troupe/runtime/numerics/half.h>

namespace troupe::kernels {
namespace {

// Returns |got - exact| in units of the last place of the nearest float.
double ulps(float got, double exact) {
  const float nearest = static_cast<float>(exact);
  const double unit = std::nextafter(std::fabs(nearest), std::numeric_limits<float>::infinity()) -
                      static_cast<double>(std::fabs(nearest));
  return std::fabs(got - exact) / unit;
}

// Returns the value of f16 bits by definition.
double f16_value(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

}  // namespace

TEST_CASE("every f16 converts to the f32 of the same value and back") {
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const auto bits = static_cast<std::uint16_t>(i);
    const float value = f16_to_f32(bits);
    if ((bits & 0x7c00) == 0x7c00) {
      if ((bits & 0x3ff) != 0) {
        REQUIRE(std::isnan(value));
        REQUIRE(f32_to_f16(value) == (bits | 0x200));  // quiet
        continue;
      }
      REQUIRE(std::isinf(value));
    } else {
      REQUIRE(value == f16_value(bits));
    }
    REQUIRE(f32_to_f16(value) == bits);
  }
}

TEST_CASE("f32 rounds to the nearest f16, ties to even") {
  // Between two neighbours, test the middle, and the floats next to the middle.
  for (std::uint16_t low = 0; low < 0x7bff; ++low) {
    const std::uint16_t high = low + 1;
    const float middle = static_cast<float>((f16_value(low) + f16_value(high)) / 2);
    const float inf = std::numeric_limits<float>::infinity();
    REQUIRE(f32_to_f16(middle) == (low % 2 == 0 ? low : high));
    REQUIRE(f32_to_f16(std::nextafter(middle, -inf)) == low);
    REQUIRE(f32_to_f16(std::nextafter(middle, inf)) == high);
    REQUIRE(f32_to_f16(-middle) == (0x8000 | (low % 2 == 0 ? low : high)));
  }
  CHECK(f32_to_f16(65519.996f) == 0x7bff);
  CHECK(f32_to_f16(65520.0f) == 0x7c00);
  CHECK(f32_to_f16(-1e30f) == 0xfc00);
  CHECK(f32_to_f16(1e-30f) == 0);
  CHECK(f32_to_f16(-0.0f) == 0x8000);
}

TEST_CASE("exp_bits is within 2 ulp of exp") {
  double worst = 0;
  for (float x = -87.0f; x <= 88.0f; x += 1.7e-4f) {
    worst = std::max(worst, ulps(exp_bits(x), std::exp(static_cast<double>(x))));
  }
  for (float x = 1e-38f; x < 1.0f; x *= 1.01f) {
    worst = std::max(worst, ulps(exp_bits(x), std::exp(static_cast<double>(x))));
    worst = std::max(worst, ulps(exp_bits(-x), std::exp(-static_cast<double>(x))));
  }
  CHECK(worst <= 2.0);
  CHECK(exp_bits(0.0f) == 1.0f);
  CHECK(exp_bits(1000.0f) == exp_bits(88.0f));
  CHECK(exp_bits(-std::numeric_limits<float>::infinity()) == exp_bits(-87.0f));
  CHECK(std::isnan(exp_bits(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("tanh_bits, erf_bits and the two forms of GELU are near the true values") {
  double worst_tanh = 0, worst_erf = 0;
  for (float x = 1e-30f; x < 20.0f; x *= 1.001f) {
    const double d = x;
    worst_tanh = std::max(worst_tanh, ulps(tanh_bits(x), std::tanh(d)));
    worst_erf = std::max(worst_erf, std::fabs(erf_bits(x) / std::erf(d) - 1.0));
    REQUIRE(tanh_bits(-x) == -tanh_bits(x));
    REQUIRE(erf_bits(-x) == -erf_bits(x));
    for (const double y : {d, -d}) {
      const auto f = static_cast<float>(y);
      const double by_erf = 0.5 * y * (1.0 + std::erf(y * std::sqrt(0.5)));
      const double u = std::sqrt(2.0 / std::acos(-1.0)) * (y + 0.044715 * y * y * y);
      // 1 + erf has the same absolute error as erf, however small it gets.
      REQUIRE(std::fabs(gelu_erf_bits(f) - by_erf) <= 0x1p-21 * d);
      REQUIRE(std::fabs(gelu_tanh_bits(f) - 0.5 * y * (1.0 + std::tanh(u))) <= 0x1p-21 * d);
    }
  }
  CHECK(worst_tanh <= 3.0);
  CHECK(worst_erf <= 0x1p-21);
  CHECK(tanh_bits(100.0f) == 1.0f);
  CHECK(std::fabs(erf_bits(-std::numeric_limits<float>::infinity()) + 1.0f) <= 0x1p-23);
  CHECK(std::isnan(tanh_bits(std::numeric_limits<float>::quiet_NaN())));
  CHECK(std::isnan(erf_bits(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("log_bits is within 2 ulp of log") {
  double worst = 0;
  for (std::uint32_t bits = 0x00800000; bits < 0x7f800000; bits += 4099) {
    const float x = std::bit_cast<float>(bits);
    worst = std::max(worst, ulps(log_bits(x), std::log(static_cast<double>(x))));
  }
  for (std::uint32_t bits = 0x3f7f0000; bits < 0x3f810000; bits += 3) {  // around 1
    const float x = std::bit_cast<float>(bits);
    worst = std::max(worst, ulps(log_bits(x), std::log(static_cast<double>(x))));
  }
  CHECK(worst <= 2.0);
  CHECK(log_bits(1.0f) == 0.0f);
  CHECK(log_bits(0.0f) == -std::numeric_limits<float>::infinity());
  CHECK(log_bits(std::numeric_limits<float>::infinity()) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(log_bits(-1.0f)));
}

}  // namespace troupe::kernels
