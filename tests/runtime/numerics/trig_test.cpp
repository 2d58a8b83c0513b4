#include <cmath>

#include <catch2/catch.hpp>

#include <troupe/runtime/numerics/trig.h>

using troupe::power;
using troupe::sin_cos;

// Our results are within 1e-15; libm's, which count as the truth here, are within 1 ulp (1.1e-16).
TEST_CASE("sin and cos agree with libm up to the largest angle") {
  double worst = 0;
  for (int i = -200000; i <= 200000; ++i) {
    const double angle = i * 5.2428790;
    const auto ours = sin_cos(angle);
    worst = std::max(
        {worst, std::abs(ours.sin - std::sin(angle)), std::abs(ours.cos - std::cos(angle))});
  }
  for (int i = 0; i < 100000; ++i) {
    const double angle = i * 1e-4;
    const auto ours = sin_cos(angle);
    worst = std::max(
        {worst, std::abs(ours.sin - std::sin(angle)), std::abs(ours.cos - std::cos(angle))});
  }
  REQUIRE(worst < 1e-15);
  REQUIRE(sin_cos(0.0).sin == 0.0);
  REQUIRE(sin_cos(0.0).cos == 1.0);
}

TEST_CASE("powers agree with libm") {
  double worst = 0;
  for (double base : {10000.0, 100000.0, 500000.0, 1e6, 2.0, 0.37, 1.0, 1.5e9})
    for (int i = -128; i <= 128; ++i) {
      const double exponent = i / 64.0;
      const double truth = std::pow(base, exponent);
      worst = std::max(worst, std::abs(power(base, exponent) - truth) / truth);
    }
  REQUIRE(worst < 1e-14);
  REQUIRE(power(10000.0, 0.0) == 1.0);
}
