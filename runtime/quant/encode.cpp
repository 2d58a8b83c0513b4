#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include <troupe/runtime/numerics/half.h>
#include <troupe/runtime/quant/bytes.h>
#include <troupe/runtime/quant/encode.h>
#include <troupe/runtime/quant/encode_k.h>
#include <troupe/runtime/quant/layout.h>

namespace troupe::quant {
namespace {

constexpr std::size_t kBlock = 32;
constexpr std::size_t kTernary = 256;  // weights in a block of TQ1_0 or TQ2_0

bool put_half(float value, std::byte* out) {
  const std::uint16_t bits = f32_to_f16(value);
  std::memcpy(out, &bits, sizeof bits);
  return f16_is_finite(bits);
}

float inverse(float scale) { return scale == 0.0f ? 0.0f : 1.0f / scale; }

// Writes 16 bytes: byte j holds q[j] in its low nibble and q[16 + j] in its high one.
void put_nibbles(const std::uint8_t* q, std::byte* out) {
  for (std::size_t j = 0; j < kBlock / 2; ++j)
    out[j] = static_cast<std::byte>(q[j] | q[j + kBlock / 2] << 4);
}

bool put_q8_0(const float* x, std::byte* out) {
  float largest = 0.0f;
  for (std::size_t i = 0; i < kBlock; ++i) largest = std::max(largest, std::abs(x[i]));
  const float d = largest / 127.0f, id = inverse(d);
  for (std::size_t i = 0; i < kBlock; ++i)
    out[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(std::round(x[i] * id)));
  return put_half(d, out);
}

// Writes the fifth bits, and the nibbles after them.
void put_five_bits(const std::uint8_t* q, std::byte* out) {
  std::uint32_t fifth = 0;
  std::uint8_t low[kBlock];
  for (std::size_t j = 0; j < kBlock; ++j) {
    fifth |= static_cast<std::uint32_t>(q[j] >> 4) << j;
    low[j] = q[j] & 15u;
  }
  store(out, fifth);
  put_nibbles(low, out + 4);
}

// Returns the level of a value in a format with the levels 0 to `most`.
std::uint8_t level(float value, float most) {
  return static_cast<std::uint8_t>(std::clamp(std::trunc(value), 0.0f, most));
}

// Chooses levels around zero: the value furthest from zero gets the lowest level. Returns the
// scale.
float levels_about_zero(const float* x, float half, std::uint8_t* q) {
  float extreme = 0.0f;
  for (std::size_t i = 0; i < kBlock; ++i)
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  const float d = extreme / -half, id = inverse(d);
  for (std::size_t i = 0; i < kBlock; ++i) q[i] = level(x[i] * id + (half + 0.5f), 2 * half - 1);
  return d;
}

// Chooses levels from the smallest value to the largest one. Returns the scale.
float levels_from_least(const float* x, float most, std::uint8_t* q, float* low) {
  const auto [least, largest] = std::minmax_element(x, x + kBlock);
  const float d = (*largest - *least) / most, id = inverse(d);
  *low = *least;
  for (std::size_t i = 0; i < kBlock; ++i) q[i] = level((x[i] - *low) * id + 0.5f, most);
  return d;
}

bool put_q4_0(const float* x, std::byte* out) {
  std::uint8_t q[kBlock];
  const float d = levels_about_zero(x, 8.0f, q);
  put_nibbles(q, out + 2);
  return put_half(d, out);
}

bool put_q4_1(const float* x, std::byte* out) {
  std::uint8_t q[kBlock];
  float low = 0.0f;
  const float d = levels_from_least(x, 15.0f, q, &low);
  put_nibbles(q, out + 4);
  return put_half(d, out) && put_half(low, out + 2);
}

bool put_q5_0(const float* x, std::byte* out) {
  std::uint8_t q[kBlock];
  const float d = levels_about_zero(x, 16.0f, q);
  put_five_bits(q, out + 2);
  return put_half(d, out);
}

bool put_q5_1(const float* x, std::byte* out) {
  std::uint8_t q[kBlock];
  float low = 0.0f;
  const float d = levels_from_least(x, 31.0f, q, &low);
  put_five_bits(q, out + 4);
  return put_half(d, out) && put_half(low, out + 2);
}

// Returns floor(log2(x)), where the logarithm is rounded to f32 first, as the package computes it:
// just below a power of two it becomes that power.
int rounded_log2(float x) {
  int exponent = 0;
  const double half = std::frexp(static_cast<double>(x), &exponent);  // in [0.5, 1)
  constexpr double kLog2E = 1.4426950408889634;
  const auto above = static_cast<float>(exponent);  // of the power of two above x
  const float next = std::nextafter(above, -std::numeric_limits<float>::infinity());
  const double gap = (static_cast<double>(above) - static_cast<double>(next)) / 2.0;
  const bool becomes_it = exponent != 0 && (1.0 - half) * kLog2E < gap;
  return becomes_it ? exponent : exponent - 1;
}

bool put_mxfp4(const float* x, std::byte* out) {
  float largest = 0.0f;
  for (std::size_t i = 0; i < kBlock; ++i) largest = std::max(largest, std::abs(x[i]));
  const int exponent = largest > 0.0f ? rounded_log2(largest) - 2 + 127 : 0;
  if (exponent < 0) return put_mxfp4(std::vector<float>(kBlock).data(), out);  // all but zeros
  // The numbers of the table are twice the values for which they stand.
  const auto d = static_cast<float>(std::ldexp(1.0, exponent - 128));
  std::uint8_t q[kBlock];
  for (std::size_t i = 0; i < kBlock; ++i) {
    float least = std::numeric_limits<float>::infinity();
    for (unsigned code = 0; code < 16; ++code) {
      const float off = std::abs(
          d * static_cast<float>(code_value<MXFP4Layout>(code) - MXFP4Layout::kOffset) - x[i]);
      if (off >= least) continue;
      least = off;
      q[i] = static_cast<std::uint8_t>(code);
    }
  }
  out[0] = static_cast<std::byte>(exponent);
  put_nibbles(q, out + 1);
  return true;
}

// Makes the 256 digits 0 to 2 of a block of ternary weights. Returns the scale.
float ternary_digits(const float* x, std::uint8_t* q) {
  float largest = 0.0f;
  for (std::size_t i = 0; i < kTernary; ++i) largest = std::max(largest, std::abs(x[i]));
  const float id = inverse(largest);
  for (std::size_t i = 0; i < kTernary; ++i)
    q[i] = static_cast<std::uint8_t>(static_cast<int>(std::round(x[i] * id)) + 1);
  return largest;
}

// Packs `count` digits in base 3, which lie `stride` apart, as a fraction of 256 (tq1_0.cpp).
std::byte digits_in_base_3(const std::uint8_t* q, std::size_t count, std::size_t stride) {
  unsigned value = 0;
  for (std::size_t n = 0; n < 5; ++n) value = value * 3 + (n < count ? q[n * stride] : 0u);
  return static_cast<std::byte>((value * 256 + 242) / 243);
}

bool put_tq1_0(const float* x, std::byte* out) {
  std::uint8_t q[kTernary];
  const float d = ternary_digits(x, q);
  for (std::size_t i = 0; i < 32; ++i) out[i] = digits_in_base_3(q + i, 5, 32);
  for (std::size_t i = 0; i < 16; ++i) out[32 + i] = digits_in_base_3(q + 160 + i, 5, 16);
  for (std::size_t i = 0; i < 4; ++i) out[48 + i] = digits_in_base_3(q + 240 + i, 4, 4);
  return put_half(d, out + 52);
}

bool put_tq2_0(const float* x, std::byte* out) {
  std::uint8_t q[kTernary];
  const float d = ternary_digits(x, q);
  for (std::size_t i = 0; i < 64; ++i) {
    const std::uint8_t* const four = q + i / 32 * 128 + i % 32;
    out[i] = static_cast<std::byte>(four[0] | four[32] << 2 | four[64] << 4 | four[96] << 6);
  }
  return put_half(d, out + 64);
}

bool put_bf16(const float* x, std::byte* out) {
  const auto bits = load<std::uint32_t>(reinterpret_cast<const std::byte*>(x));
  const auto rounded = static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
  store(out, rounded);
  return (rounded & 0x7f80u) != 0x7f80u;
}

bool put_f16(const float* x, std::byte* out) { return put_half(*x, out); }

bool put_f32(const float* x, std::byte* out) {
  store(out, *x);
  return true;
}

// Writes a block of a format.
using Put = bool (*)(const float* x, std::byte* out);
constexpr std::pair<Type, Put> kPuts[] = {
    {Type::kF32, put_f32},       {Type::kF16, put_f16},     {Type::kBF16, put_bf16},
    {Type::kQ8_0, put_q8_0},     {Type::kQ4_0, put_q4_0},   {Type::kQ4_1, put_q4_1},
    {Type::kQ5_0, put_q5_0},     {Type::kQ5_1, put_q5_1},   {Type::kMXFP4, put_mxfp4},
    {Type::kQ2_K, put_q2_k},     {Type::kQ3_K, put_q3_k},   {Type::kQ4_K, put_q4_k},
    {Type::kQ5_K, put_q5_k},     {Type::kQ6_K, put_q6_k},   {Type::kIQ4_NL, put_iq4_nl},
    {Type::kIQ4_XS, put_iq4_xs}, {Type::kTQ1_0, put_tq1_0}, {Type::kTQ2_0, put_tq2_0},
};

Put find_put(Type type) {
  for (const std::pair<Type, Put>& one : kPuts)
    if (one.first == type) return one.second;
  return nullptr;
}

}  // namespace

bool can_encode(Type type) { return find_put(type) != nullptr; }

bool encode(Type type, const float* values, std::size_t count, std::byte* out) {
  if (!std::all_of(values, values + count, [](float x) { return std::isfinite(x); })) return false;
  const Format& format = *find(type);
  const Put put = find_put(type);
  TROUPE_CHECK(put != nullptr && count % format.block_elements == 0, std::to_string(count));
  bool fits = true;
  for (std::size_t i = 0; i < count; i += format.block_elements, out += format.block_bytes)
    fits &= put(values + i, out);
  return fits;
}

}  // namespace troupe::quant
