#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include <troupe/runtime/numerics/half.h>
#include <troupe/runtime/quant/bytes.h>
#include <troupe/runtime/quant/encode.h>

namespace troupe::quant {
namespace {

constexpr std::size_t kBlock = 32;

bool put_half(float value, std::byte* out) {
  const std::uint16_t bits = f32_to_f16(value);
  std::memcpy(out, &bits, sizeof bits);
  return f16_is_finite(bits);
}

float inverse(float scale) { return scale == 0.0f ? 0.0f : 1.0f / scale; }

// Byte j holds q[j] in its low nibble and q[16 + j] in its high one.
void put_nibbles(const std::uint8_t* q, std::byte* out) {
  for (std::size_t j = 0; j < kBlock / 2; ++j)
    out[j] = static_cast<std::byte>(q[j] | q[j + kBlock / 2] << 4);
}

std::uint8_t nibble(double value) {
  return static_cast<std::uint8_t>(std::clamp(std::trunc(value), 0.0, 15.0));
}

bool put_q8_0(const float* x, std::byte* out) {
  float largest = 0.0f;
  for (std::size_t i = 0; i < kBlock; ++i) largest = std::max(largest, std::abs(x[i]));
  const float d = largest / 127.0f, id = inverse(d);
  for (std::size_t i = 0; i < kBlock; ++i)
    out[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(std::round(x[i] * id)));
  return put_half(d, out);
}

bool put_q4_0(const float* x, std::byte* out) {
  float extreme = 0.0f;
  for (std::size_t i = 0; i < kBlock; ++i)
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  const float d = extreme / -8.0f;
  const double id = static_cast<double>(inverse(d));
  std::uint8_t q[kBlock];
  for (std::size_t i = 0; i < kBlock; ++i) q[i] = nibble(static_cast<double>(x[i]) * id + 8.5);
  put_nibbles(q, out + 2);
  return put_half(d, out);
}

bool put_q4_1(const float* x, std::byte* out) {
  const auto [least, most] = std::minmax_element(x, x + kBlock);
  const float d = (*most - *least) / 15.0f;
  const double id = static_cast<double>(inverse(d)), low = static_cast<double>(*least);
  std::uint8_t q[kBlock];
  for (std::size_t i = 0; i < kBlock; ++i)
    q[i] = nibble((static_cast<double>(x[i]) - low) * id + 0.5);
  put_nibbles(q, out + 4);
  return put_half(d, out) && put_half(*least, out + 2);
}

}  // namespace

bool can_encode(Type type) {
  return type == Type::kF32 || type == Type::kF16 || type == Type::kQ8_0 || type == Type::kQ4_0 ||
         type == Type::kQ4_1;
}

bool encode(Type type, const float* values, std::size_t count, std::byte* out) {
  if (!std::all_of(values, values + count, [](float x) { return std::isfinite(x); })) return false;
  const Format& format = *find(type);
  TROUPE_CHECK(can_encode(type) && count % format.block_elements == 0, std::to_string(count));
  if (type == Type::kF32) {
    std::memcpy(out, values, count * sizeof(float));
    return true;
  }
  bool fits = true;
  for (std::size_t i = 0; i < count; i += format.block_elements, out += format.block_bytes) {
    if (type == Type::kF16) fits &= put_half(values[i], out);
    if (type == Type::kQ8_0) fits &= put_q8_0(values + i, out);
    if (type == Type::kQ4_0) fits &= put_q4_0(values + i, out);
    if (type == Type::kQ4_1) fits &= put_q4_1(values + i, out);
  }
  return fits;
}

}  // namespace troupe::quant
