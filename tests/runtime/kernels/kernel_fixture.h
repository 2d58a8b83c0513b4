#pragma once

#include <cstring>
#include <random>
#include <vector>

#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/kernels/table.h>
#include <troupe/runtime/numerics/half.h>
#include <troupe/tests/runtime/quant/scale_place.h>

// What the kernel tests share: seeded data, file rows of any format, and the supported targets.

namespace troupe::kernels {

// Returns the targets, slowest first. ThreadSanitizer checks what threads share, which is the same
// on every target, so it gets only the fastest.
inline std::vector<Isa> supported_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512})
    if (isa_supported(isa)) isas.push_back(isa);
#ifdef __SANITIZE_THREAD__
  isas.erase(isas.begin(), isas.end() - 1);
#endif
  return isas;
}

using Random = std::mt19937;

inline std::vector<float> random_floats(Random& random, std::size_t count, float scale = 1.0f) {
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// Returns the file's bytes of `rows` rows, with any quants, and with scales that a model could
// have.
inline std::vector<std::byte> random_rows(Random& random, quant::Type type, std::size_t rows,
                                          std::size_t columns) {
  const quant::Format& format = *quant::find(type);
  std::vector<std::byte> bytes(rows * columns / format.block_elements * format.block_bytes);
  std::uniform_int_distribution<int> any_byte(0, 255);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(any_byte(random));
  std::normal_distribution<float> normal(0.0f, 0.05f);
  for (std::size_t at = 0; at < bytes.size(); at += format.block_bytes) {
    const auto put_f16 = [&](std::size_t field) {
      const std::uint16_t bits = f32_to_f16(normal(random));
      std::memcpy(&bytes[at + field], &bits, 2);
    };
    const float value = normal(random);
    if (type == quant::Type::kF32) std::memcpy(&bytes[at], &value, 4);
    if (type == quant::Type::kBF16)
      std::memcpy(&bytes[at], reinterpret_cast<const char*>(&value) + 2, 2);
    if (format.block_elements == 1 && type != quant::Type::kF16) continue;
    if (type == quant::Type::kMXFP4) {
      bytes[at] = static_cast<std::byte>(112 + any_byte(random) % 16);
      continue;
    }
    put_f16(quant::scale_place(type));
    if (format.has_m) put_f16(quant::scale_place(type) + 2);
  }
  return bytes;
}

// Returns the number of columns that a matrix of this type can have instead of `columns`.
inline std::size_t fitting(quant::Type type, std::size_t columns) {
  const std::size_t block = quant::find(type)->block_elements;
  return (columns + block - 1) / block * block;
}

// The memory of quantized activations of some rows, in blocks and superblocks (none of these when
// the columns do not fit).
struct QuantizedBuffer {
  QuantizedBuffer(std::size_t rows, std::size_t columns)
      : q(rows * columns),
        d(q.size() / kBlock),
        s(d.size()),
        sum(d.size()),
        super_q(columns % kSuperblock == 0 ? q.size() : 0),
        super_d(super_q.size() / kSuperblock),
        super_sums(super_q.size() / kSumElements) {}
  QuantizedRows rows() {
    QuantizedRows out{.q = q.data(), .d = d.data(), .s = s.data(), .sum = sum.data()};
    if (super_q.empty()) return out;
    out.super_q = super_q.data();
    out.super_d = super_d.data();
    out.super_sums = super_sums.data();
    return out;
  }
  std::vector<std::int8_t> q;
  std::vector<float> d, s;
  std::vector<std::int32_t> sum;
  std::vector<std::int8_t> super_q;
  std::vector<float> super_d;
  std::vector<std::int16_t> super_sums;
};

inline bool same_bits(const float* a, const float* b, std::size_t count) {
  return count == 0 || std::memcmp(a, b, count * sizeof(float)) == 0;
}

}  // namespace troupe::kernels
