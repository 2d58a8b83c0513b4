#include <cmath>
#include <limits>

#include <troupe/runtime/kernels/reference.h>
#include <troupe/runtime/quant/bytes.h>

namespace troupe::kernels::reference {
namespace {

using quant::load;

// ((0+8)+(4+12)) ... : halves are added 8, 4, 2, 1 apart.
float tree_sum(const float* p) {
  float eight[8], four[4], two[2];
  for (int i = 0; i < 8; ++i) eight[i] = p[i] + p[i + 8];
  for (int i = 0; i < 4; ++i) four[i] = eight[i] + eight[i + 4];
  for (int i = 0; i < 2; ++i) two[i] = four[i] + four[i + 2];
  return two[0] + two[1];
}

// The scale, offset and integers of block `block` of a quantized row.
struct Block {
  float d = 0, m = 0;
  std::int32_t q[kBlock];
};
Block read_block(quant::Type type, const std::byte* file_row, std::size_t block) {
  Block out;
  if (type == quant::Type::kQ4_1) {
    const std::byte* in = file_row + 20 * block;
    out.d = f16_to_f32(load<std::uint16_t>(in));
    out.m = f16_to_f32(load<std::uint16_t>(in + 2));
    for (std::size_t j = 0; j < 16; ++j) {
      out.q[j] = load<std::uint8_t>(in + 4 + j) & 15;
      out.q[j + 16] = load<std::uint8_t>(in + 4 + j) >> 4;
    }
  } else {
    TROUPE_CHECK(type == quant::Type::kQ8_0, std::to_string(static_cast<int>(type)));
    const std::byte* in = file_row + 34 * block;
    out.d = f16_to_f32(load<std::uint16_t>(in));
    for (std::size_t j = 0; j < 32; ++j) out.q[j] = load<std::int8_t>(in + 2 + j);
  }
  return out;
}

}  // namespace

void quantize_row(const float* x, std::size_t columns, std::int8_t* q, float* d, float* s) {
  for (std::size_t block = 0; block < columns / kBlock; ++block, x += kBlock, q += kBlock) {
    float amax = 0.0f;
    bool finite = true;
    for (std::size_t j = 0; j < kBlock; ++j) {
      finite = finite && std::isfinite(x[j]);
      amax = std::fabs(x[j]) > amax ? std::fabs(x[j]) : amax;
    }
    const bool zero = finite && amax < 0x1p-100f;
    std::int32_t sum = 0;
    for (std::size_t j = 0; j < kBlock; ++j) {
      q[j] = zero || !finite ? 0 : static_cast<std::int8_t>(std::nearbyint(x[j] * (127.0f / amax)));
      sum += q[j];
    }
    d[block] = zero ? 0.0f : finite ? amax / 127.0f : std::numeric_limits<float>::quiet_NaN();
    s[block] = d[block] * static_cast<float>(sum);
  }
}

float dot(quant::Type type, const std::byte* file_row, std::size_t columns, const float* x) {
  float acc = 0.0f;
  if (!wants_quantized(type)) {
    const quant::Format& format = *quant::find(type);
    std::vector<float> w(columns);
    format.dequantize(file_row, columns / format.block_elements, w.data());
    for (std::size_t k = 0; k < columns; ++k) acc = std::fma(w[k], x[k], acc);
    return acc;
  }
  std::vector<std::int8_t> q(columns);
  std::vector<float> d(columns / kBlock), s(columns / kBlock);
  quantize_row(x, columns, q.data(), d.data(), s.data());
  for (std::size_t block = 0; block < columns / kBlock; ++block) {
    const Block w = read_block(type, file_row, block);
    std::int32_t isum = 0;
    for (std::size_t j = 0; j < kBlock; ++j) isum += w.q[j] * q[block * kBlock + j];
    acc = std::fma(w.d * d[block], static_cast<float>(isum), acc);
    if (type == quant::Type::kQ4_1) acc = std::fma(w.m, s[block], acc);
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
                   std::size_t first, std::size_t last, float scale, float* out) {
  std::vector<float> p(last + 1);
  float largest = -std::numeric_limits<float>::infinity();
  for (std::size_t j = first; j <= last; ++j) {
    float score = 0.0f;
    for (std::size_t c = 0; c < head_dim; ++c) score = std::fma(q[c], k[j * head_dim + c], score);
    p[j] = score * scale;
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
    out[c] = (total + part) / tree_sum(partial);
  }
}

float silu(float x) { return x / (1.0f + exp_bits(-x)); }

float gelu_tanh(float x) {
  const float u = 0.79788456f * std::fma(x * x * 0.044715f, x, x);
  return 0.5f * x * (1.0f + tanh_bits(u));
}

float gelu_erf(float x) { return 0.5f * x * (1.0f + erf_bits(x * 0.70710678f)); }

}  // namespace troupe::kernels::reference
