#pragma once

#include <cstdint>

// Rounding to half precision on bit patterns alone. Used by half.h and by the GPU's kernels:
// because nvcc reads this header, it includes nothing of ours. Pure.

namespace troupe {

// Returns the binary16 nearest to the binary32 with these bits, ties to even. A magnitude of 65520
// or more becomes infinity. A NaN becomes quiet and keeps the top bits of its payload, as in F16C.
constexpr std::uint16_t f16_from_f32_bits(std::uint32_t bits) {
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)  // NaN
    return static_cast<std::uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<std::uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x33000000u) return sign;  // under 2^-25 rounds to zero
  std::uint32_t half = 0, rest = 0, tie = 0;
  if (magnitude < 0x38800000u) {  // subnormal: units of 2^-24
    const std::uint32_t shift = 126 - (magnitude >> 23);
    const std::uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    half = mantissa >> shift;
    rest = mantissa & ((1u << shift) - 1);
    tie = 1u << (shift - 1);
  } else {
    half = (magnitude - 0x38000000u) >> 13;
    rest = magnitude & 0x1fffu;
    tie = 0x1000u;
  }
  if (rest > tie || (rest == tie && (half & 1u) != 0)) ++half;  // may carry into the exponent
  return static_cast<std::uint16_t>(sign | half);
}

}  // namespace troupe
