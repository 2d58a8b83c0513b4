#pragma once

#include <cstring>
#include <random>
#include <vector>

#include <troupe/runtime/kernels/kernels.h>

// What the kernel tests share: seeded data, file rows of any format, and the supported targets.

namespace troupe::kernels {

inline std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512})
    if (isa_supported(isa)) isas.push_back(isa);
  return isas;
}

using Random = std::mt19937;

inline std::vector<float> random_floats(Random& random, std::size_t count, float scale = 1.0f) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// File bytes of `rows` rows: any quants, scales that a model could have.
inline std::vector<std::byte> random_rows(Random& random, quant::Type type, std::size_t rows,
                                          std::size_t columns) {
  const quant::Format& format = *quant::find(type);
  std::vector<std::byte> bytes(rows * columns / format.block_elements * format.block_bytes);
  std::uniform_int_distribution<int> any_byte(0, 255);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(any_byte(random));
  std::normal_distribution<float> normal(0.0f, 0.05f);
  for (std::size_t at = 0; at < bytes.size(); at += format.block_bytes) {
    const float value = normal(random);
    if (type == quant::Type::kF32) {
      std::memcpy(&bytes[at], &value, 4);
      continue;
    }
    const std::uint16_t scale = f32_to_f16(value);
    std::memcpy(&bytes[at], &scale, 2);
    if (type == quant::Type::kQ4_1) {
      const std::uint16_t offset = f32_to_f16(normal(random));
      std::memcpy(&bytes[at + 2], &offset, 2);
    }
  }
  return bytes;
}

// The memory of quantized activations of some rows.
struct QuantizedBuffer {
  QuantizedBuffer(std::size_t rows, std::size_t columns)
      : q(rows * columns), d(rows * columns / kBlock), s(rows * columns / kBlock) {}
  QuantizedRows rows() { return {q.data(), d.data(), s.data()}; }
  std::vector<std::int8_t> q;
  std::vector<float> d, s;
};

inline bool same_bits(const float* a, const float* b, std::size_t count) {
  return std::memcmp(a, b, count * sizeof(float)) == 0;
}

}  // namespace troupe::kernels
