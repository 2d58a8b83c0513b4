#pragma once

#include <troupe/runtime/cuda/kernels/rows.h>
#include <troupe/runtime/quant/layout.h>

// How a thread reads packed weights, which lie on the device as runtime/quant/layout.h draws them:
// as operands of a tensor core, as words for dp4a, and one by one. A packed run of 16 rows x 32 k
// is the A operand of m16n8k32 as it lies.

namespace troupe::cuda::TROUPE_CUDA_SIDE {

// The scales of one row of a superblock. kWords is 3 for six-bit scales and offsets of 32 weights,
// 4 for i8 scales of 16, and 0 for a block of 32, which has neither.
template <int kWords>
struct RowScales {
  std::uint32_t words[kWords == 0 ? 1 : kWords];

  __device__ void read(const unsigned char* scales, int row) {
    for (int i = 0; i < kWords; ++i) words[i] = load<std::uint32_t>(scales + 64 * i + 4 * row);
  }
  // Of run j of 32 weights.
  __device__ int scale(int j) const {
    const int shift = 8 * (j % 4);
    if (j < 4) return static_cast<int>(words[0] >> shift & 63u);
    return static_cast<int>((words[2] >> shift & 15u) | (words[0] >> (shift + 6) & 3u) << 4);
  }
  __device__ int offset(int j) const {
    const int shift = 8 * (j % 4);
    if (j < 4) return static_cast<int>(words[1] >> shift & 63u);
    return static_cast<int>((words[2] >> (shift + 4) & 15u) | (words[1] >> (shift + 6) & 3u) << 4);
  }
  // Of half-run j of 16 weights.
  __device__ int half_scale(int j) const {
    return static_cast<std::int8_t>(words[j / 4] >> 8 * (j % 4));
  }
};

// Word p of four weights of one row of a run, k = 4p to 4p + 3 (p < 4), and its partner 16 further
// on, from the word that holds both nibbles.
template <class L>
__device__ inline void unpack_words(const unsigned char* run, int row, int p, std::uint32_t both,
                                    std::uint32_t* low, std::uint32_t* high) {
  *low = both & 0x0f0f0f0fu;
  *high = both >> 4 & 0x0f0f0f0fu;
  if constexpr (L::kBits == 5) {
    const auto bits = load<std::uint32_t>(run + 256 + 4 * row);
    *low |= (bits >> p & quant::kHighMask<5>) << 4;
    *high |= (bits >> (p + 4) & quant::kHighMask<5>) << 4;
  }
  if constexpr (L::kBits == 6) {
    *low |= (load<std::uint32_t>(run + 256 + 4 * row) >> 2 * p & quant::kHighMask<6>) << 4;
    *high |= (load<std::uint32_t>(run + 320 + 4 * row) >> 2 * p & quant::kHighMask<6>) << 4;
  }
}

// The A operand of one run: rows r and r + 8, words t and t + 4.
template <class L>
__device__ inline void load_operand(const unsigned char* run, int r, int t, std::uint32_t (&a)[4]) {
  const unsigned char* at = run + 64 * t + 4 * r;
  const auto first = load<std::uint32_t>(at), second = load<std::uint32_t>(at + 32);
  if constexpr (L::kBits == 8) {
    a[0] = first;
    a[1] = second;
    a[2] = load<std::uint32_t>(at + 256);
    a[3] = load<std::uint32_t>(at + 288);
  } else {
    unpack_words<L>(run, r, t, first, &a[0], &a[2]);
    unpack_words<L>(run, r + 8, t, second, &a[1], &a[3]);
  }
}

// The exact value of weight k of one row. Source: quant::to_values.
template <class L>
__device__ inline float weight_at(const unsigned char* group, int k, int row) {
  const int block = k / static_cast<int>(L::kElements),
            in_block = k % static_cast<int>(L::kElements);
  const int run_index = in_block / 32, in_run = in_block % 32;
  const unsigned char* run = group + L::run_at(block, run_index);
  int q;
  if constexpr (L::kBits == 8) {
    q = static_cast<std::int8_t>(run[64 * (in_run / 4) + 4 * row + in_run % 4]);
  } else {
    const int p = in_run % 16 / 4, shift = 8 * (in_run % 4);
    std::uint32_t low, high;
    unpack_words<L>(run, row, p, load<std::uint32_t>(run + 64 * p + 4 * row), &low, &high);
    q = static_cast<int>((in_run < 16 ? low : high) >> shift & 0xffu);
  }
  const float d = from_half(load<std::uint16_t>(group + L::d_at(block) + 2 * row));
  float scale = d, offset = 0.0f;
  if constexpr (L::kHasM) offset = from_half(load<std::uint16_t>(group + L::m_at(block) + 2 * row));
  if constexpr (L::kScaleWords != 0) {
    RowScales<static_cast<int>(L::kScaleWords)> scales;
    scales.read(group + L::scales_at(block), row);
    if constexpr (L::kScaleWords == 3) {
      scale = d * static_cast<float>(scales.scale(run_index));
      offset = -offset * static_cast<float>(scales.offset(run_index));
    } else {
      scale = d * static_cast<float>(scales.half_scale(in_block / 16));
    }
  }
  const float value = scale * static_cast<float>(q - L::kOffset);
  return L::kHasM ? value + offset : value;
}

// Formats without blocks: [k][16 rows] of what a weight fills.
struct F32Values {
  using Bits = float;
  __device__ static float value(float bits) { return bits; }
};
struct F16Values {
  using Bits = std::uint16_t;
  __device__ static float value(std::uint16_t bits) { return from_half(bits); }
};
struct BF16Values {
  using Bits = std::uint16_t;
  __device__ static float value(std::uint16_t bits) { return from_bfloat(bits); }
};

template <class F>
__device__ inline float plain_weight_at(const unsigned char* group, int k, int row) {
  using Bits = typename F::Bits;
  return F::value(load<Bits>(group + sizeof(Bits) * (static_cast<std::size_t>(k) * 16 + row)));
}

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
