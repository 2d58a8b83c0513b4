#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include <troupe/runtime/numerics/half.h>
#include <troupe/runtime/quant/bytes.h>
#include <troupe/runtime/quant/format.h>

// The code that the formats of 8-bit floats share. They are read into BF16. Their scales, if they
// have any, are a tensor of their own. For this folder only.
//
// A weight is its value times its scale in f32, then rounded to BF16, as transformers and
// compressed-tensors compute it. Some of them multiply scales of BF16 in BF16; the result is the
// same, because an f32 holds the product exactly.

namespace troupe::quant {

// Rounds to nearest even; a NaN stays one.
inline std::uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// Traits of a format: kType, kName, and to_f32(std::uint8_t), which is exact.
template <class F>
struct Float8 {
  static float value(const std::byte* in) { return F::to_f32(std::to_integer<std::uint8_t>(*in)); }

  static void dequantize(const std::byte* in, std::size_t blocks, float* out) {
    for (std::size_t i = 0; i < blocks; ++i) out[i] = value(in + i);
  }
  static void repack(const std::byte* in, std::size_t blocks, std::byte* out) {
    for (std::size_t i = 0; i < blocks; ++i) store(out + 2 * i, f32_to_bf16(value(in + i)));
  }
  static void repack_scaled(const std::byte* in, std::size_t columns, const float* scales,
                            std::size_t scale_columns, std::byte* out) {
    for (std::size_t k = 0; k < columns; ++k)
      store(out + 2 * k, f32_to_bf16(value(in + k) * scales[k / scale_columns]));
  }

  static Format format() {
    Format format{};
    format.type = F::kType;
    format.name = F::kName;
    format.block_elements = format.block_bytes = 1;
    format.activations = ActivationKind::kFloats;
    format.dequantize = dequantize;
    format.packed_type = Type::kBF16;
    format.read_error = 0x1p-8f;
    format.repack = repack;
    format.repack_scaled = repack_scaled;
    return format;
  }
};

}  // namespace troupe::quant
