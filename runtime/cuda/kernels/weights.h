#pragma once

#include <troupe/runtime/cuda/kernels/rows.h>
#include <troupe/runtime/quant/layout.h>

// How a thread reads packed weights, which lie on the device as runtime/quant/layout.h draws them:
// as operands of a tensor core, as words for dp4a, and one by one. A packed run of 16 rows x 32 k
// is the A operand of m16n8k32 as it lies.

namespace troupe::cuda::TROUPE_CUDA_SIDE {

// The scales of one row of a superblock (quant::Scales).
template <class L>
struct RowScales {
  static constexpr int kWords = static_cast<int>(L::kScaleWords);
  std::uint32_t words[kWords == 0 ? 1 : kWords];

  __device__ void read(const unsigned char* scales, int row) {
    for (int i = 0; i < kWords; ++i) words[i] = load<std::uint32_t>(scales + 64 * i + 4 * row);
  }
  __device__ unsigned byte(int j) const { return words[j / 4] >> 8 * (j % 4) & 0xffu; }
  // Returns the scale of run j of 32 weights.
  __device__ int scale(int j) const {
    if constexpr (L::kScales == quant::Scales::kRunBytes) return static_cast<std::int8_t>(byte(j));
    const int shift = 8 * (j % 4);
    if (j < 4) return static_cast<int>(words[0] >> shift & 63u);
    return static_cast<int>((words[2] >> shift & 15u) | (words[0] >> (shift + 6) & 3u) << 4);
  }
  __device__ int offset(int j) const {
    const int shift = 8 * (j % 4);
    if (j < 4) return static_cast<int>(words[1] >> shift & 63u);
    return static_cast<int>((words[2] >> (shift + 4) & 15u) | (words[1] >> (shift + 6) & 3u) << 4);
  }
  // Returns the scale of half-run j of 16 weights.
  __device__ int half_scale(int j) const {
    if constexpr (L::kScales == quant::Scales::kSixLess32) {
      return static_cast<int>((byte(j % 8) >> j / 8 * 4 & 15u) | (byte(8 + j % 4) >> j / 4 * 2 & 3u)
                                                                     << 4) -
             32;
    } else if constexpr (L::kScales == quant::Scales::kNibbles) {
      return static_cast<int>(byte(j) & 15u);
    } else {
      return static_cast<std::int8_t>(byte(j));
    }
  }
  __device__ int half_offset(int j) const { return static_cast<int>(byte(j) >> 4); }
};

// Returns the word in which each byte, a number from 0 to 15, is replaced by the value that the
// layout's table has for it.
template <class L>
__device__ inline std::uint32_t look_up(std::uint32_t numbers) {
  constexpr std::uint64_t kLow = quant::kCodeWords<L::kCodes>[0];
  constexpr std::uint64_t kHigh = quant::kCodeWords<L::kCodes>[1];
  std::uint32_t out = 0;
  for (int shift = 0; shift < 32; shift += 8) {
    const std::uint32_t number = numbers >> shift & 15u;
    const std::uint64_t word = number < 8 ? kLow : kHigh;
    out |= (static_cast<std::uint32_t>(word >> 8 * (number & 7u)) & 0xffu) << shift;
  }
  return out;
}

// Returns the scale d of a block of one row.
template <class L>
__device__ inline float block_scale(const unsigned char* group, int block, int row) {
  if constexpr (L::kByteD) {  // as power_of_two in quant/packing.h
    const std::uint32_t e = group[L::d_at(block) + row];
    const std::uint32_t bits = e < 2 ? 0x00200000u << e : (e - 1) << 23;
    return load<float>(reinterpret_cast<const unsigned char*>(&bits));
  } else {
    return from_half(load<std::uint16_t>(group + L::d_at(block) + 2 * row));
  }
}

// In a run, one word of a row in memory holds both words p and p + 4, which are four weights each.
// Returns the place of this word for row 0.
template <class L>
__device__ inline int word_at(int p) {
  return L::kBits < 4 ? 64 * (p % 2) : 64 * p;
}

// Unpacks word p of four weights of one row of a run, k = 4p to 4p + 3 (p < 4), and its partner 16
// further on, from the word that holds both. They are the integers that are multiplied.
template <class L>
__device__ inline void unpack_words(const unsigned char* run, int row, int p, std::uint32_t both,
                                    std::uint32_t* low, std::uint32_t* high) {
  if constexpr (L::kBits < 4) {
    *low = both >> p / 2 * 2 & 0x03030303u;
    *high = both >> (p / 2 * 2 + 4) & 0x03030303u;
    if constexpr (L::kBits == 3) {
      const auto bits = load<std::uint32_t>(run + 128 + 4 * row);
      const std::uint32_t upper = bits >> 4;
      *low |= (bits >> p & quant::kHighMask<3>) << 2;
      *high |= (upper >> p & quant::kHighMask<3>) << 2;
    }
    return;
  }
  *low = both & 0x0f0f0f0fu;
  *high = both >> 4 & 0x0f0f0f0fu;
  if constexpr (L::kCodes != quant::Codes::kIntegers) {
    *low = look_up<L>(*low);
    *high = look_up<L>(*high);
  }
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

// Loads the A operand of one run: rows r and r + 8, words t and t + 4.
template <class L>
__device__ inline void load_operand(const unsigned char* run, int r, int t, std::uint32_t (&a)[4]) {
  const unsigned char* at = run + (L::kBits == 8 ? 64 * t : word_at<L>(t)) + 4 * r;
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

// Returns the exact value of weight k of one row. Source: quant::to_values.
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
    unpack_words<L>(run, row, p, load<std::uint32_t>(run + word_at<L>(p) + 4 * row), &low, &high);
    const auto byte = static_cast<std::uint8_t>((in_run < 16 ? low : high) >> shift & 0xffu);
    q = L::kMathBits == 8 ? static_cast<std::int8_t>(byte) : static_cast<int>(byte);
  }
  const float d = block_scale<L>(group, block, row);
  float scale = d, offset = 0.0f;
  if constexpr (L::kHasM) offset = from_half(load<std::uint16_t>(group + L::m_at(block) + 2 * row));
  if constexpr (L::kScaleWords != 0) {
    RowScales<L> scales;
    scales.read(group + L::scales_at(block), row);
    if constexpr (L::kHalfScales) {
      scale = d * static_cast<float>(scales.half_scale(in_block / 16));
      if constexpr (L::kHasM)
        offset = -offset * static_cast<float>(scales.half_offset(in_block / 16));
    } else {
      scale = d * static_cast<float>(scales.scale(run_index));
      if constexpr (L::kHasM) offset = -offset * static_cast<float>(scales.offset(run_index));
    }
  }
  const float value = scale * static_cast<float>(q - L::kOffset);
  return L::kHasM ? value + offset : value;
}

// Formats without blocks lie as [k][16 rows] of Bits, the integer or float that a weight fills.
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
