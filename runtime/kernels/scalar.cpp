#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include <troupe/runtime/kernels/targets.h>
#include <troupe/runtime/numerics/elementary.h>
#include <troupe/runtime/numerics/half.h>

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

// Quantizes one block of `elements` to q, and returns d. A block that is zero gives zeros and 0;
// one that is not finite gives zeros and NaN.
float quantize_block(const float* in, std::size_t elements, std::int8_t* q) {
  std::uint32_t amax_bits = 0;  // non-negative floats order as their bits; NaN is the greatest
  for (std::size_t j = 0; j < elements; ++j) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(in[j]) & 0x7fffffffu;
    amax_bits = bits > amax_bits ? bits : amax_bits;
  }
  const float amax = std::bit_cast<float>(amax_bits);
  if (amax_bits >= 0x7f800000u || amax < 0x1p-100f) {
    std::memset(q, 0, elements);
    return amax < 0x1p-100f ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  const float inverse = 127.0f / amax;
  for (std::size_t j = 0; j < elements; ++j) {
    // Adding 1.5 * 2^23 rounds to the nearest even integer, which is then in the low byte.
    const float shifted = in[j] * inverse + 12582912.0f;
    q[j] = static_cast<std::int8_t>(std::bit_cast<std::uint32_t>(shifted) & 0xffu);
  }
  return amax / 127.0f;
}

std::int32_t sum_of(const std::int8_t* q, std::size_t count) {
  std::int32_t sum = 0;
  for (std::size_t j = 0; j < count; ++j) sum += q[j];
  return sum;
}

void quantize_rows(const float* x, std::size_t columns, std::size_t row_begin, std::size_t row_end,
                   QuantizedRows out) {
  const std::size_t begin = row_begin * columns, end = row_end * columns;
  for (std::size_t i = begin / kBlock; out.q != nullptr && i < end / kBlock; ++i) {
    std::int8_t* q = out.q + i * kBlock;
    out.d[i] = quantize_block(x + i * kBlock, kBlock, q);
    out.sum[i] = sum_of(q, kBlock);
    out.s[i] = out.d[i] * static_cast<float>(out.sum[i]);
  }
  for (std::size_t i = begin / kSuperblock; out.super_q != nullptr && i < end / kSuperblock; ++i) {
    std::int8_t* q = out.super_q + i * kSuperblock;
    out.super_d[i] = quantize_block(x + i * kSuperblock, kSuperblock, q);
    std::int16_t* sums = out.super_sums + i * (kSuperblock / kSumElements);
    for (std::size_t j = 0; j < kSuperblock / kSumElements; ++j)
      sums[j] = static_cast<std::int16_t>(sum_of(q + j * kSumElements, kSumElements));
  }
}

// The number of rows of activations for which a group's weights are unpacked once.
constexpr std::size_t kTileRows = 16;

// Each *_group adds the products of one packed group with x.rows <= kTileRows rows of activations
// to sums (x.rows, kGroupRows), which begin as zeros.

float same_float(float value) { return value; }
float bf16_to_f32(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

template <class Bits, float (*to_f32)(Bits)>
void float_group(const quant::Format&, const std::byte* group, const Activations& x, float* sums) {
  for (std::size_t begin = 0; begin < x.columns; begin += kSumColumns) {
    const std::size_t end = std::min(begin + kSumColumns, x.columns);
    float chunk[kTileRows * kGroupRows] = {};
    for (std::size_t k = begin; k < end; ++k)
      for (std::size_t r = 0; r < kGroupRows; ++r) {
        const float w = to_f32(load<Bits>(group + sizeof(Bits) * (k * kGroupRows + r)));
        for (std::size_t b = 0; b < x.rows; ++b) {
          float& sum = chunk[b * kGroupRows + r];
          sum = std::fma(w, x.x[b * x.columns + k], sum);
        }
      }
    // The first chunk's sum is the total, down to the sign of a zero.
    for (std::size_t i = 0; i < x.rows * kGroupRows; ++i)
      sums[i] = begin == 0 ? chunk[i] : sums[i] + chunk[i];
  }
}

void block_group(const quant::Format& format, const std::byte* group, const Activations& x,
                 float* sums) {
  const std::size_t blocks = x.columns / kBlock;
  quant::Numbers w;
  for (std::size_t i = 0; i < blocks * kGroupRows; ++i) {
    const std::size_t block = i / kGroupRows, r = i % kGroupRows;
    format.read_numbers(group, block, r, &w);
    for (std::size_t b = 0; b < x.rows; ++b) {
      const QuantizedRows a = x.quantized.from(b * x.columns + block * kBlock);
      std::int32_t isum = 0;
      for (std::size_t k = 0; k < kBlock; ++k) isum += w.q[k] * a.q[k];
      float& sum = sums[b * kGroupRows + r];
      sum = std::fma(w.d * *a.d, static_cast<float>(isum), sum);
      if (format.has_m) sum = std::fma(w.m, *a.s, sum);
    }
  }
}

void superblock_group(const quant::Format& format, const std::byte* group, const Activations& x,
                      float* sums) {
  const std::size_t blocks = x.columns / kSuperblock;
  quant::Numbers w;
  for (std::size_t i = 0; i < blocks * kGroupRows; ++i) {
    const std::size_t block = i / kGroupRows, r = i % kGroupRows;
    format.read_numbers(group, block, r, &w);
    for (std::size_t b = 0; b < x.rows; ++b) {
      const QuantizedRows a = x.quantized.from(b * x.columns + block * kSuperblock);
      std::int32_t isum = 0, ioff = 0;
      for (std::size_t j = 0; j < kSuperblock / kSumElements; ++j) {
        std::int32_t part = 0;
        for (std::size_t k = j * kSumElements; k < (j + 1) * kSumElements; ++k)
          part += w.q[k] * a.super_q[k];
        isum += w.scales[j] * part;
        if (format.has_m) ioff += w.offsets[j] * a.super_sums[j];
      }
      float& sum = sums[b * kGroupRows + r];
      sum = std::fma(w.d * *a.super_d, static_cast<float>(isum), sum);
      if (format.has_m) sum = std::fma(w.m * *a.super_d, static_cast<float>(ioff), sum);
    }
  }
}

using GroupFunction = void (*)(const quant::Format&, const std::byte*, const Activations&, float*);
GroupFunction group_function(const quant::Format& format) {
  switch (format.activations) {
    case quant::ActivationKind::kBlocks:
      return block_group;
    case quant::ActivationKind::kSuperblocks:
      return superblock_group;
    case quant::ActivationKind::kFloats:
      break;
  }
  if (format.type == quant::Type::kF16) return float_group<std::uint16_t, f16_to_f32>;
  if (format.type == quant::Type::kBF16) return float_group<std::uint16_t, bf16_to_f32>;
  TROUPE_CHECK(format.type == quant::Type::kF32, std::string(format.name));
  return float_group<float, same_float>;
}

void matmul(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
            std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  const quant::Format& format = *quant::find(w.type);
  const GroupFunction add_group = group_function(format);
  for (std::size_t group = group_begin; group < group_end; ++group) {
    const std::size_t row = group * kGroupRows;
    const std::size_t rows = w.rows - row < kGroupRows ? w.rows - row : kGroupRows;
    for (std::size_t first = 0; first < x.rows; first += kTileRows) {
      Activations tile = x.from_row(first);
      tile.rows = std::min(tile.rows, kTileRows);
      float sums[kTileRows * kGroupRows] = {};
      add_group(format, w.data.data() + group * w.group_bytes, tile, sums);
      for (std::size_t i = 0; i < tile.rows * rows; ++i) {
        const std::size_t b = i / rows, r = i % rows;
        float& to = out[(first + b) * out_stride + row + r];
        to = accumulate ? to + sums[b * kGroupRows + r] : sums[b * kGroupRows + r];
      }
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

// These read and write element `index` of a page.
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

// Returns the dot product of q and the key at position j of kv_head.
float score_of(const AttentionArgs& args, std::size_t kv_head, std::size_t j, const float* q) {
  float sum = 0.0f;
  for (std::size_t begin = 0; begin < args.head_dim; begin += kSumColumns) {
    const std::size_t end = std::min(begin + kSumColumns, args.head_dim);
    float chunk = 0.0f;
    for (std::size_t c = begin; c < end; ++c) {
      const float k = page_load(args.pages[j / kPageKeys], args.kv_type,
                                k_index(kv_head, j % kPageKeys, c, args.head_dim));
      chunk = std::fma(k, q[c], chunk);
    }
    sum = begin == 0 ? chunk : sum + chunk;
  }
  return sum;
}

void attention_row(const AttentionArgs& args, std::size_t head, std::size_t row, float* scores) {
  const std::size_t kv_head = head / (args.heads / args.kv_heads);
  const std::size_t first = args.first_key(row), last = args.last_key(row);
  const float* q = args.q + row * args.q_stride + head * args.head_dim;
  float largest =
      args.sinks != nullptr ? args.sinks[head] : -std::numeric_limits<float>::infinity();
  for (std::size_t j = first; j <= last; ++j) {
    scores[j - first] = score_of(args, kv_head, j, q) * args.scale;
    if (args.cap != 0.0f) scores[j - first] = args.cap * tanh_bits(scores[j - first] / args.cap);
    if (args.relative != nullptr) scores[j - first] += args.relative_bias(head, row, j);
    largest = scores[j - first] > largest ? scores[j - first] : largest;
  }
  float partial[16] = {};
  for (std::size_t j = first; j <= last; ++j) {
    scores[j - first] = exp_bits(scores[j - first] - largest);
    partial[j % 16] += scores[j - first];
  }
  float total = tree_sum(partial);
  if (args.sinks != nullptr) total += exp_bits(args.sinks[head] - largest);
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
