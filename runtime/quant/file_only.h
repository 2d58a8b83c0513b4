#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include <troupe/runtime/numerics/half.h>
#include <troupe/runtime/quant/bytes.h>
#include <troupe/runtime/quant/format.h>

// The code shared by the formats that are read into Q8_0 when weights are packed. A format says
// how it reads one block of a file; everything else follows. For this folder only.
//
// Why Q8_0 and not F16, which would lose less: people choose these formats because memory is short,
// and F16 takes 1.9 times as much of it and of its bandwidth. They keep 1 to 4 bits of a weight, so
// that the model has already lost far more than Q8_0 loses, which is at most 0.4 % of a block's
// largest weight. If a block of 32 consists of integers with one scale, Q8_0 loses as little as F16
// would.

namespace troupe::quant {

// A block of Q8_0 in a file: f16 d, 32 x int8 q.
constexpr std::size_t kQ8Elements = 32, kQ8Bytes = 34;

// Writes 32 values as a block of Q8_0: d is the largest magnitude divided by 127. If a value is not
// a finite number, d is infinite, so that the packer refuses the matrix. Values are rounded to
// multiples of the d that is stored, so that they are off by half of it at most; encode.h divides
// by the d before it is rounded to f16, as ggml does.
inline void write_q8(const float* values, std::byte* out) {
  float largest = 0.0f;
  for (std::size_t i = 0; i < kQ8Elements; ++i)
    largest = std::isfinite(values[i]) ? std::max(largest, std::fabs(values[i]))
                                       : std::numeric_limits<float>::infinity();
  const std::uint16_t d = f32_to_f16(largest / 127.0f);
  const float step = f16_to_f32(d);
  store(out, d);
  for (std::size_t i = 0; i < kQ8Elements; ++i) {
    const float q = step > 0.0f && std::isfinite(step) ? std::nearbyint(values[i] / step) : 0.0f;
    store(out + 2 + i, static_cast<std::int8_t>(std::clamp(q, -127.0f, 127.0f)));
  }
}

// Writes integers that share a scale as a block of Q8_0. The scale is rounded to f16.
inline void write_q8(float scale, const std::int8_t* q, std::byte* out) {
  store(out, f32_to_f16(scale));
  std::memcpy(out + 2, q, kQ8Elements);
}

// out[i] = scale * q[i] for eight weights.
inline void scale_values(float scale, const std::int8_t* q, float* out) {
  for (std::size_t i = 0; i < 8; ++i) out[i] = scale * static_cast<float>(q[i]);
}

template <class F>
void dequantize_blocks(const std::byte* in, std::size_t blocks, float* out) {
  for (std::size_t i = 0; i < blocks; ++i)
    F::dequantize(in + i * F::kFileBytes, out + i * F::kElements);
}

// For a format in which each 32 weights are 8-bit integers with one scale. F::integers reads them
// as kElements integers and kElements / 32 scales. Nothing is lost but by rounding the scales to
// f16.
template <class F>
struct ScaledIntegers {
  static constexpr float kReadError = 0x1p-11f;
  static void dequantize(const std::byte* in, float* out) {
    float scales[F::kElements / kQ8Elements];
    std::int8_t q[F::kElements];
    F::integers(in, scales, q);
    for (std::size_t i = 0; i < F::kElements; ++i)
      out[i] = scales[i / kQ8Elements] * static_cast<float>(q[i]);
  }
  static void repack(const std::byte* in, std::byte* out) {
    float scales[F::kElements / kQ8Elements];
    std::int8_t q[F::kElements];
    F::integers(in, scales, q);
    for (std::size_t i = 0; i < F::kElements / kQ8Elements; ++i)
      write_q8(scales[i], q + i * kQ8Elements, out + i * kQ8Bytes);
  }
};

// For any other format: F::dequantize reads a block as values.
template <class F>
struct RoundedValues {
  static constexpr float kReadError = 0.5f / 126;
  static void repack(const std::byte* in, std::byte* out) {
    float values[F::kElements];
    F::dequantize(in, values);
    for (std::size_t i = 0; i < F::kElements / kQ8Elements; ++i)
      write_q8(values + i * kQ8Elements, out + i * kQ8Bytes);
  }
};

template <class F>
Format file_only_format() {
  Format format{};
  format.type = F::kType;
  format.name = F::kName;
  format.block_elements = F::kElements;
  format.block_bytes = F::kFileBytes;
  format.activations = ActivationKind::kBlocks;
  format.dequantize = dequantize_blocks<F>;
  format.packed_type = Type::kQ8_0;
  format.read_error = F::kReadError;
  format.repack = [](const std::byte* in, std::size_t blocks, std::byte* out) {
    for (std::size_t i = 0; i < blocks; ++i)
      F::repack(in + i * F::kFileBytes, out + i * (F::kElements / kQ8Elements) * kQ8Bytes);
  };
  return format;
}

}  // namespace troupe::quant
