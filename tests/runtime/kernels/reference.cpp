#include <algorithm>
#include <cmath>
#include <limits>

#include <troupe/runtime/numerics/elementary.h>
#include <troupe/runtime/numerics/half.h>
#include <troupe/runtime/quant/bytes.h>
#include <troupe/tests/runtime/kernels/reference.h>

namespace troupe::kernels::reference {
namespace {

using quant::load;

// Returns ((0+8)+(4+12)) and so on: halves are added 8, 4, 2, 1 apart.
float tree_sum(const float* p) {
  float eight[8], four[4], two[2];
  for (int i = 0; i < 8; ++i) eight[i] = p[i] + p[i + 8];
  for (int i = 0; i < 4; ++i) four[i] = eight[i] + eight[i + 4];
  for (int i = 0; i < 2; ++i) two[i] = four[i] + four[i + 2];
  return two[0] + two[1];
}

// Returns a . b as the lane rule cuts it: a chain of fused multiply-adds from 0 for each
// kSumColumns elements, and the chains' sums added in order.
float cut_dot(const float* a, const float* b, std::size_t count) {
  float total = 0.0f;
  for (std::size_t begin = 0; begin < count; begin += kSumColumns) {
    float chain = 0.0f;
    for (std::size_t i = begin; i < std::min(begin + kSumColumns, count); ++i)
      chain = std::fma(a[i], b[i], chain);
    total = begin == 0 ? chain : total + chain;
  }
  return total;
}

// The fields of a block of a file, read as plainly as possible: w = d * scale * q + m * offset,
// with a scale and an offset for each 16 weights.
struct Block {
  float d = 0, m = 0;
  std::int32_t q[256], scale[16], offset[16];
};

constexpr std::int32_t kIq4[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};

// Reads the blocks whose four-bit numbers stand for those of a table.
void read_table_block(quant::Type type, const std::byte* in, Block* out) {
  const bool is_mxfp4 = type == quant::Type::kMXFP4;
  static constexpr std::int32_t kE2m1[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  out->d = is_mxfp4 ? std::ldexp(1.0f, load<std::uint8_t>(in) - 128)
                    : f16_to_f32(load<std::uint16_t>(in));
  for (std::size_t k = 0; k < 32; ++k) {
    const auto byte = load<std::uint8_t>(in + (is_mxfp4 ? 1 : 2) + k % 16);
    out->q[k] = (is_mxfp4 ? kE2m1 : kIq4)[k < 16 ? byte & 15 : byte >> 4];
  }
}

void read_small_block(quant::Type type, const std::byte* in, Block* out) {
  using quant::Type;
  if (type == Type::kIQ4_NL || type == Type::kMXFP4) return read_table_block(type, in, out);
  const bool has_m = type == Type::kQ4_1 || type == Type::kQ5_1;
  const bool fifth = type == Type::kQ5_0 || type == Type::kQ5_1;
  const std::byte* bits = in + (has_m ? 4 : 2);
  const std::byte* nibbles = bits + (fifth ? 4 : 0);
  const std::int32_t away = type == Type::kQ4_0 ? 8 : type == Type::kQ5_0 ? 16 : 0;
  out->d = f16_to_f32(load<std::uint16_t>(in));
  if (has_m) out->m = f16_to_f32(load<std::uint16_t>(in + 2));
  for (std::size_t k = 0; k < 32; ++k) {
    if (type == Type::kQ8_0) {
      out->q[k] = load<std::int8_t>(in + 2 + k);
      continue;
    }
    const auto byte = load<std::uint8_t>(nibbles + k % 16);
    out->q[k] = (k < 16 ? byte & 15 : byte >> 4) - away;
    if (fifth && load<std::uint32_t>(bits) >> k & 1) out->q[k] += 16;
  }
}

void read_small_superblock(quant::Type type, const std::byte* in, Block* out) {
  const auto byte = [&](std::size_t at) { return std::int32_t{load<std::uint8_t>(in + at)}; };
  const bool is_q2 = type == quant::Type::kQ2_K, is_q3 = type == quant::Type::kQ3_K;
  out->d = f16_to_f32(load<std::uint16_t>(in + (is_q2 ? 80 : is_q3 ? 108 : 0)));
  if (is_q2) out->m = -f16_to_f32(load<std::uint16_t>(in + 82));
  for (std::size_t j = 0; j < 16; ++j) {
    if (is_q2) {
      out->scale[j] = byte(j) & 15;
      out->offset[j] = byte(j) >> 4;
    } else if (is_q3) {
      const std::int32_t low = j < 8 ? byte(96 + j) & 15 : byte(96 + j - 8) >> 4;
      out->scale[j] = low + 16 * (byte(104 + j % 4) >> 2 * (j / 4) & 3) - 32;
    } else {
      const std::size_t b = j / 2;
      const std::int32_t low = b % 2 == 0 ? byte(4 + b / 2) & 15 : byte(4 + b / 2) >> 4;
      out->scale[j] = low + 16 * (byte(2 + b / 4) >> 2 * (b % 4) & 3) - 32;
    }
  }
  for (std::size_t k = 0; k < 256; ++k) {
    const std::size_t half = k / 128, part = k % 128 / 32, l = k % 32;
    if (is_q2) {
      out->q[k] = byte(16 + 32 * half + l) >> 2 * part & 3;
    } else if (is_q3) {
      const std::int32_t third = byte(l) >> (k / 32) & 1;
      out->q[k] = (byte(32 + 32 * half + l) >> 2 * part & 3) - (third != 0 ? 0 : 4);
    } else {
      const std::int32_t both = byte(8 + 16 * (k / 32) + k % 16);
      out->q[k] = kIq4[l < 16 ? both & 15 : both >> 4];
    }
  }
}

void read_superblock(quant::Type type, const std::byte* in, Block* out) {
  const auto byte = [&](std::size_t at) { return std::int32_t{load<std::uint8_t>(in + at)}; };
  if (type == quant::Type::kQ6_K) {
    out->d = f16_to_f32(load<std::uint16_t>(in + 208));
    for (std::size_t j = 0; j < 16; ++j) out->scale[j] = load<std::int8_t>(in + 192 + j);
    for (std::size_t k = 0; k < 256; ++k) {
      const std::size_t half = k / 128, l = k % 128;
      const std::int32_t low = byte(64 * half + l % 64) >> (l < 64 ? 0 : 4) & 15;
      const std::int32_t high = byte(128 + 32 * half + l % 32) >> 2 * (l / 32) & 3;
      out->q[k] = low + 16 * high - 32;
    }
    return;
  }
  if (type == quant::Type::kQ2_K || type == quant::Type::kQ3_K || type == quant::Type::kIQ4_XS)
    return read_small_superblock(type, in, out);
  TROUPE_CHECK(type == quant::Type::kQ4_K || type == quant::Type::kQ5_K,
               std::to_string(static_cast<int>(type)));
  const bool fifth = type == quant::Type::kQ5_K;
  out->d = f16_to_f32(load<std::uint16_t>(in));
  out->m = -f16_to_f32(load<std::uint16_t>(in + 2));
  for (std::size_t k = 0; k < 256; ++k) {
    const std::size_t j = k / 32;
    const std::int32_t nibbles = byte((fifth ? 48 : 16) + 32 * (j / 2) + k % 32);
    out->q[k] = nibbles >> (j % 2 == 0 ? 0 : 4) & 15;
    if (fifth) out->q[k] += 16 * (byte(16 + k % 32) >> j & 1);
    out->scale[k / 16] = j < 4 ? byte(4 + j) & 63 : (byte(8 + j) & 15) + 16 * (byte(j) >> 6);
    out->offset[k / 16] = j < 4 ? byte(8 + j) & 63 : (byte(8 + j) >> 4) + 16 * (byte(4 + j) >> 6);
  }
}

// Computes d and q of one block of activations.
void quantize_block(const float* x, std::size_t elements, std::int8_t* q, float* d) {
  float amax = 0.0f;
  bool finite = true;
  for (std::size_t j = 0; j < elements; ++j) {
    finite = finite && std::isfinite(x[j]);
    amax = std::fabs(x[j]) > amax ? std::fabs(x[j]) : amax;
  }
  const bool zero = finite && amax < 0x1p-100f;
  for (std::size_t j = 0; j < elements; ++j)
    q[j] = zero || !finite ? 0 : static_cast<std::int8_t>(std::nearbyint(x[j] * (127.0f / amax)));
  *d = zero ? 0.0f : finite ? amax / 127.0f : std::numeric_limits<float>::quiet_NaN();
}

}  // namespace

void quantize_row(const float* x, std::size_t columns, const QuantizedRows& out) {
  for (std::size_t block = 0; out.q != nullptr && block < columns / kBlock; ++block) {
    std::int8_t* q = out.q + block * kBlock;
    quantize_block(x + block * kBlock, kBlock, q, out.d + block);
    out.sum[block] = 0;
    for (std::size_t j = 0; j < kBlock; ++j) out.sum[block] += q[j];
    out.s[block] = out.d[block] * static_cast<float>(out.sum[block]);
  }
  for (std::size_t block = 0; out.super_q != nullptr && block < columns / kSuperblock; ++block) {
    std::int8_t* q = out.super_q + block * kSuperblock;
    quantize_block(x + block * kSuperblock, kSuperblock, q, out.super_d + block);
    for (std::size_t i = 0; i < kSuperblock / kSumElements; ++i) {
      std::int16_t& sum = out.super_sums[block * (kSuperblock / kSumElements) + i];
      sum = 0;
      for (std::size_t j = 0; j < kSumElements; ++j)
        sum = static_cast<std::int16_t>(sum + q[i * kSumElements + j]);
    }
  }
}

float dot(quant::Type type, const std::byte* file_row, std::size_t columns, const float* x) {
  const quant::Format& format = *quant::find(type);
  const std::size_t blocks = columns / format.block_elements;
  float acc = 0.0f;
  if (format.activations == quant::ActivationKind::kFloats) {
    std::vector<float> w(columns);
    format.dequantize(file_row, blocks, w.data());
    return cut_dot(w.data(), x, columns);
  }
  const bool super = format.activations == quant::ActivationKind::kSuperblocks;
  const std::size_t elements = super ? kSuperblock : kBlock;
  const bool has_m = type == quant::Type::kQ4_1 || type == quant::Type::kQ5_1 ||
                     type == quant::Type::kQ4_K || type == quant::Type::kQ5_K ||
                     type == quant::Type::kQ2_K;
  std::vector<std::int8_t> q(elements);
  for (std::size_t block = 0; block < blocks; ++block) {
    float d = 0.0f;
    quantize_block(x + block * elements, elements, q.data(), &d);
    Block w;
    (super ? read_superblock : read_small_block)(type, file_row + block * format.block_bytes, &w);
    std::int32_t isum = 0, ioff = 0;
    for (std::size_t k = 0; k < elements; ++k) {
      isum += (super ? w.scale[k / 16] : 1) * w.q[k] * q[k];
      if (has_m) ioff += (super ? w.offset[k / 16] : 1) * q[k];
    }
    acc = std::fma(w.d * d, static_cast<float>(isum), acc);
    if (!has_m) continue;
    acc = super ? std::fma(w.m * d, static_cast<float>(ioff), acc)
                : std::fma(w.m, d * static_cast<float>(ioff), acc);
  }
  return acc;
}

void rms_norm(const float* x, const float* weight, float eps, std::size_t channels, float* out) {
  float partial[16] = {};
  for (std::size_t c = 0; c < channels; ++c)
    partial[c % 16] = std::fma(x[c], x[c], partial[c % 16]);
  const float inverse = 1.0f / std::sqrt(tree_sum(partial) / static_cast<float>(channels) + eps);
  for (std::size_t c = 0; c < channels; ++c) out[c] = x[c] * inverse * weight[c];
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps,
                std::size_t channels, float* out) {
  const auto count = static_cast<float>(channels);
  float sums[16] = {}, squares[16] = {};
  for (std::size_t c = 0; c < channels; ++c) sums[c % 16] += x[c];
  const float mean = tree_sum(sums) / count;
  for (std::size_t c = 0; c < channels; ++c) {
    const float d = x[c] - mean;
    squares[c % 16] = std::fma(d, d, squares[c % 16]);
  }
  const float inverse = 1.0f / std::sqrt(tree_sum(squares) / count + eps);
  for (std::size_t c = 0; c < channels; ++c)
    out[c] = std::fma((x[c] - mean) * inverse, weight[c], bias[c]);
}

void rope(float* x, std::size_t heads, std::size_t head_dim, std::size_t rotary_dim,
          const float* cos_sin, bool interleaved) {
  for (std::size_t head = 0; head < heads; ++head) {
    for (std::size_t i = 0; i < rotary_dim / 2; ++i) {
      const std::size_t first = head * head_dim + (interleaved ? 2 * i : i);
      const std::size_t second = interleaved ? first + 1 : first + rotary_dim / 2;
      const float a = x[first], b = x[second], c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
      x[first] = std::fma(a, c, -(b * s));
      x[second] = std::fma(a, s, b * c);
    }
  }
}

void attention_row(const float* q, const float* k, const float* v, std::size_t head_dim,
                   std::size_t first, std::size_t last, float scale, float cap, const float* sink,
                   float* out, const float* relative) {
  std::vector<float> p(last + 1);
  float largest = sink != nullptr ? *sink : -std::numeric_limits<float>::infinity();
  for (std::size_t j = first; j <= last; ++j) {
    p[j] = cut_dot(q, k + j * head_dim, head_dim) * scale;
    if (cap != 0.0f) p[j] = cap * tanh_bits(p[j] / cap);
    if (relative != nullptr) p[j] += relative[j];
    largest = std::fmax(largest, p[j]);
  }
  float partial[16] = {};
  for (std::size_t j = first; j <= last; ++j) {
    p[j] = exp_bits(p[j] - largest);
    partial[j % 16] += p[j];
  }
  for (std::size_t c = 0; c < head_dim; ++c) {
    float total = 0.0f, part = 0.0f;
    for (std::size_t j = first; j <= last; ++j) {
      if (j % kSumKeys == 0) {
        total += part;
        part = 0.0f;
      }
      part = std::fma(p[j], v[j * head_dim + c], part);
    }
    const float rest = sink != nullptr ? exp_bits(*sink - largest) : 0.0f;
    out[c] = (total + part) / (tree_sum(partial) + rest);
  }
}

float silu(float x) { return x / (1.0f + exp_bits(-x)); }

float gelu_tanh(float x) {
  const float u = 0.79788456f * std::fma(x * x * 0.044715f, x, x);
  return 0.5f * x * (1.0f + tanh_bits(u));
}

float gelu_erf(float x) { return 0.5f * x * (1.0f + erf_bits(x * 0.70710678f)); }

}  // namespace troupe::kernels::reference
