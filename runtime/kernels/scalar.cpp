#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include <troupe/runtime/kernels/targets.h>

// The scalar target: every kernel in plain C++ with std::fma, for CPUs that no vector target knows.
// It reads the packed layouts that runtime/quant draws and follows the same order as the vectors.

namespace troupe::kernels {
namespace {

template <class T>
T load(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

float tree_sum(float* partial) {
  for (std::size_t apart = 8; apart > 0; apart /= 2)
    for (std::size_t i = 0; i < apart; ++i) partial[i] += partial[i + apart];
  return partial[0];
}

void quantize_rows(const float* x, std::size_t columns, std::size_t row_begin, std::size_t row_end,
                   QuantizedRows out) {
  const std::size_t blocks = columns / kBlock;
  for (std::size_t i = row_begin * blocks; i < row_end * blocks; ++i) {
    const float* in = x + i * kBlock;
    std::int8_t* q = out.q + i * kBlock;
    std::uint32_t amax_bits = 0;  // non-negative floats order as their bits; NaN is the greatest
    for (std::size_t j = 0; j < kBlock; ++j) {
      const std::uint32_t bits = std::bit_cast<std::uint32_t>(in[j]) & 0x7fffffffu;
      amax_bits = bits > amax_bits ? bits : amax_bits;
    }
    const float amax = std::bit_cast<float>(amax_bits);
    if (amax_bits >= 0x7f800000u || amax < 0x1p-100f) {
      std::memset(q, 0, kBlock);
      out.d[i] = out.s[i] = amax < 0x1p-100f ? 0.0f : std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    const float inverse = 127.0f / amax;
    std::int32_t sum = 0;
    for (std::size_t j = 0; j < kBlock; ++j) {
      // Adding 1.5 * 2^23 rounds to the nearest even integer, which is then in the low byte.
      const float shifted = in[j] * inverse + 12582912.0f;
      q[j] = static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(shifted) & 0xffu);
      sum += q[j];
    }
    out.d[i] = amax / 127.0f;
    out.s[i] = out.d[i] * static_cast<float>(sum);
  }
}

// Each *_group computes the 16 sums of one packed group with row b of the activations.

void f32_group(const std::byte* group, const Activations& x, std::size_t b, float* sums) {
  const float* in = x.x + b * x.columns;
  for (std::size_t k = 0; k < x.columns; ++k)
    for (std::size_t r = 0; r < kGroupRows; ++r)
      sums[r] = std::fma(load<float>(group + 4 * (k * kGroupRows + r)), in[k], sums[r]);
}

void f16_group(const std::byte* group, const Activations& x, std::size_t b, float* sums) {
  const float* in = x.x + b * x.columns;
  for (std::size_t k = 0; k < x.columns; ++k)
    for (std::size_t r = 0; r < kGroupRows; ++r) {
      const float w = f16_to_f32(load<std::uint16_t>(group + 2 * (k * kGroupRows + r)));
      sums[r] = std::fma(w, in[k], sums[r]);
    }
}

void q4_1_group(const std::byte* group, const Activations& x, std::size_t b, float* sums) {
  const std::size_t blocks = x.columns / kBlock;
  for (std::size_t block = 0; block < blocks; ++block, group += 320) {
    const std::int8_t* q = x.quantized.q + b * x.columns + block * kBlock;
    const float d = x.quantized.d[b * blocks + block], s = x.quantized.s[b * blocks + block];
    for (std::size_t r = 0; r < kGroupRows; ++r) {
      std::int32_t isum = 0;
      for (std::size_t g = 0; g < 4; ++g)
        for (std::size_t j = 0; j < 4; ++j) {
          const auto byte = std::to_integer<std::int32_t>(group[64 * g + 4 * r + j]);
          isum += (byte & 15) * q[4 * g + j] + (byte >> 4) * q[16 + 4 * g + j];
        }
      const float dw = f16_to_f32(load<std::uint16_t>(group + 256 + 2 * r));
      const float mw = f16_to_f32(load<std::uint16_t>(group + 288 + 2 * r));
      sums[r] = std::fma(dw * d, static_cast<float>(isum), sums[r]);
      sums[r] = std::fma(mw, s, sums[r]);
    }
  }
}

void q8_0_group(const std::byte* group, const Activations& x, std::size_t b, float* sums) {
  const std::size_t blocks = x.columns / kBlock;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::byte* scales = group + block / 2 * 1088 + block % 2 * 32;
    const std::byte* quants = group + block / 2 * 1088 + 64 + block % 2 * 512;
    const std::int8_t* q = x.quantized.q + b * x.columns + block * kBlock;
    const float d = x.quantized.d[b * blocks + block];
    for (std::size_t r = 0; r < kGroupRows; ++r) {
      std::int32_t isum = 0;
      for (std::size_t k = 0; k < kBlock; ++k)
        isum += load<std::int8_t>(quants + 64 * (k / 4) + 4 * r + k % 4) * q[k];
      const float dw = f16_to_f32(load<std::uint16_t>(scales + 2 * r));
      sums[r] = std::fma(dw * d, static_cast<float>(isum), sums[r]);
    }
  }
}

using GroupFunction = void (*)(const std::byte*, const Activations&, std::size_t, float*);
GroupFunction group_function(quant::Type type) {
  switch (type) {
    case quant::Type::kF32:
      return f32_group;
    case quant::Type::kF16:
      return f16_group;
    case quant::Type::kQ4_1:
      return q4_1_group;
    case quant::Type::kQ8_0:
      return q8_0_group;
    default:
      break;
  }
  TROUPE_CHECK(false, "no kernel for weight type " + std::to_string(static_cast<int>(type)));
}

void matmul(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
            std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  const GroupFunction group_sums = group_function(w.type);
  for (std::size_t group = group_begin; group < group_end; ++group) {
    const std::size_t row = group * kGroupRows;
    const std::size_t rows = w.rows - row < kGroupRows ? w.rows - row : kGroupRows;
    for (std::size_t b = 0; b < x.rows; ++b) {
      float sums[kGroupRows] = {};
      group_sums(w.data.data() + group * w.group_bytes, x, b, sums);
      float* to = out + b * out_stride + row;
      for (std::size_t r = 0; r < rows; ++r) to[r] = accumulate ? to[r] + sums[r] : sums[r];
    }
  }
}

void rms_norm(const float* x, const float* weight, float eps, std::size_t channels,
              std::size_t row_begin, std::size_t row_end, float* out) {
  for (std::size_t row = row_begin; row < row_end; ++row) {
    const float* in = x + row * channels;
    float partial[16] = {};
    for (std::size_t c = 0; c < channels; ++c)
      partial[c % 16] = std::fma(in[c], in[c], partial[c % 16]);
    const float mean = tree_sum(partial) / static_cast<float>(channels);
    const float inverse = 1.0f / std::sqrt(mean + eps);
    for (std::size_t c = 0; c < channels; ++c)
      out[row * channels + c] = in[c] * inverse * weight[c];
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps,
                std::size_t channels, std::size_t row_begin, std::size_t row_end, float* out) {
  const auto count = static_cast<float>(channels);
  for (std::size_t row = row_begin; row < row_end; ++row) {
    const float* in = x + row * channels;
    float sums[16] = {}, squares[16] = {};
    for (std::size_t c = 0; c < channels; ++c) sums[c % 16] += in[c];
    const float mean = tree_sum(sums) / count;
    for (std::size_t c = 0; c < channels; ++c)
      squares[c % 16] = std::fma(in[c] - mean, in[c] - mean, squares[c % 16]);
    const float inverse = 1.0f / std::sqrt(tree_sum(squares) / count + eps);
    for (std::size_t c = 0; c < channels; ++c)
      out[row * channels + c] = std::fma((in[c] - mean) * inverse, weight[c], bias[c]);
  }
}

void rope(float* x, std::size_t heads, std::size_t head_dim, std::size_t rotary_dim,
          const float* cos_sin, bool interleaved) {
  const std::size_t half = rotary_dim / 2;
  for (std::size_t head = 0; head < heads; ++head, x += head_dim) {
    for (std::size_t i = 0; i < half; ++i) {
      float& first = interleaved ? x[2 * i] : x[i];
      float& second = interleaved ? x[2 * i + 1] : x[i + half];
      const float a = first, b = second, cosine = cos_sin[2 * i], sine = cos_sin[2 * i + 1];
      first = std::fma(a, cosine, -(b * sine));
      second = std::fma(a, sine, b * cosine);
    }
  }
}

// Element `index` of a page, and its writer.
float page_load(const std::byte* page, KvType type, std::size_t index) {
  return type == KvType::kF16 ? f16_to_f32(load<std::uint16_t>(page + 2 * index))
                              : load<float>(page + 4 * index);
}
void page_store(std::byte* page, KvType type, std::size_t index, float value) {
  if (type == KvType::kF16) {
    const std::uint16_t bits = f32_to_f16(value);
    std::memcpy(page + 2 * index, &bits, 2);
  } else {
    std::memcpy(page + 4 * index, &value, 4);
  }
}

std::size_t k_index(std::size_t kv_head, std::size_t key, std::size_t channel,
                    std::size_t head_dim) {
  const std::size_t block = kv_head * (kPageKeys / kKeyBlock) + key / kKeyBlock;
  return (block * head_dim + channel) * kKeyBlock + key % kKeyBlock;
}
std::size_t v_index(std::size_t kv_heads, std::size_t kv_head, std::size_t key, std::size_t channel,
                    std::size_t head_dim) {
  return ((kv_heads + kv_head) * kPageKeys + key) * head_dim + channel;
}

void kv_write(const float* k, const float* v, std::byte* page, KvType type, std::size_t kv_heads,
              std::size_t head_dim, std::size_t key_in_page) {
  for (std::size_t h = 0; h < kv_heads; ++h) {
    for (std::size_t c = 0; c < head_dim; ++c) {
      page_store(page, type, k_index(h, key_in_page, c, head_dim), k[h * head_dim + c]);
      page_store(page, type, v_index(kv_heads, h, key_in_page, c, head_dim), v[h * head_dim + c]);
    }
  }
}

void attention_row(const AttentionArgs& args, std::size_t head, std::size_t row, float* scores) {
  const std::size_t kv_head = head / (args.heads / args.kv_heads);
  const std::size_t last =
      args.bidirectional_keys != 0 ? args.bidirectional_keys - 1 : args.position + row;
  const std::size_t first = args.window != 0 && last + 1 > args.window ? last + 1 - args.window : 0;
  const float* q = args.q + row * args.q_stride + head * args.head_dim;
  float largest = -std::numeric_limits<float>::infinity();
  for (std::size_t j = first; j <= last; ++j) {
    float sum = 0.0f;
    for (std::size_t c = 0; c < args.head_dim; ++c) {
      const float k = page_load(args.pages[j / kPageKeys], args.kv_type,
                                k_index(kv_head, j % kPageKeys, c, args.head_dim));
      sum = std::fma(k, q[c], sum);
    }
    scores[j - first] = sum * args.scale;
    largest = scores[j - first] > largest ? scores[j - first] : largest;
  }
  float partial[16] = {};
  for (std::size_t j = first; j <= last; ++j) {
    scores[j - first] = exp_bits(scores[j - first] - largest);
    partial[j % 16] += scores[j - first];
  }
  const float total = tree_sum(partial);
  float* out = args.out + row * args.out_stride + head * args.head_dim;
  for (std::size_t c = 0; c < args.head_dim; ++c) {
    float sum = 0.0f;
    for (std::size_t j = first; j <= last;) {
      const std::size_t cut = std::min((j / kSumKeys + 1) * kSumKeys, last + 1);
      float part = 0.0f;
      for (; j < cut; ++j) {
        const float v = page_load(args.pages[j / kPageKeys], args.kv_type,
                                  v_index(args.kv_heads, kv_head, j % kPageKeys, c, args.head_dim));
        part = std::fma(scores[j - first], v, part);
      }
      sum += part;
    }
    out[c] = sum / total;
  }
}

void attention(const AttentionArgs& args, std::size_t head_begin, std::size_t head_end,
               std::size_t row_begin, std::size_t row_end, float* scratch) {
  for (std::size_t row = row_begin; row < row_end; ++row)
    for (std::size_t head = head_begin; head < head_end; ++head)
      attention_row(args, head, row, scratch);
}

void silu_mul(float* gate, const float* up, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) gate[i] = gate[i] / (1.0f + exp_bits(-gate[i])) * up[i];
}

void gelu_tanh(float* x, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) x[i] = gelu_tanh_bits(x[i]);
}

void gelu_erf(float* x, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) x[i] = gelu_erf_bits(x[i]);
}

void tanh(const float* x, float* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = tanh_bits(x[i]);
}

void exp(const float* x, float* out, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) out[i] = exp_bits(x[i]);
}

}  // namespace

const Kernels& scalar_table() {
  static constexpr Kernels kTable = {
      .isa = Isa::kScalar,
      .quantize_rows = quantize_rows,
      .matmul = matmul,
      .rms_norm = rms_norm,
      .layer_norm = layer_norm,
      .rope = rope,
      .kv_write = kv_write,
      .attention = attention,
      .silu_mul = silu_mul,
      .gelu_tanh = gelu_tanh,
      .gelu_erf = gelu_erf,
      .tanh = tanh,
      .exp = exp,
  };
  return kTable;
}

}  // namespace troupe::kernels
