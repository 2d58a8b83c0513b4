#pragma once

#include <bit>
#include <cstring>

#include <troupe/runtime/numerics/half.h>
#include <troupe/runtime/quant/bytes.h>
#include <troupe/runtime/quant/format.h>
#include <troupe/runtime/quant/layout.h>

// The code that the formats' source files share: interleaving rows, and reading them back. A format
// says how it reads one block of a file; everything else follows from its Layout. For this folder
// only.

namespace troupe::quant {

// One block of one row: the fields of the file, in an order of our own.
struct FileBlock {
  std::uint16_t d = 0, m = 0;               // f16 bits; with kByteD, d is the exponent e
  std::uint8_t q[kBlockElementsMax];        // the stored integers; Q8_0's as their bytes
  std::uint8_t scales[4 * kScaleWordsMax];  // of a superblock
};

// Returns 2^(e - 128), also where that is a subnormal number.
inline float power_of_two(std::uint32_t e) {
  return std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

// Reads the low nibbles, then the high nibbles, of kCount bytes: 2 * kCount integers.
template <std::size_t kCount>
void read_nibbles(const std::byte* in, std::uint8_t* q) {
  for (std::size_t j = 0; j < kCount; ++j) {
    q[j] = std::to_integer<std::uint8_t>(in[j] & std::byte{15});
    q[kCount + j] = std::to_integer<std::uint8_t>(in[j] >> 4);
  }
}
// Adds bit j of `bits` to q[j] as its fifth bit, j in 0..31.
inline void add_fifth_bits(std::uint32_t bits, std::uint8_t* q) {
  for (std::size_t j = 0; j < 32; ++j)
    q[j] = static_cast<std::uint8_t>(q[j] | (bits >> j & 1) << 4);
}

// Returns four bytes that lie side by side, the first in the low bits.
template <class Byte>
std::uint32_t load_four(const Byte* from) {
  std::uint32_t four;
  std::memcpy(&four, from, 4);
  return four;
}

// These read and write row `row` of a packed run (layout.h) as integers q[32].
template <std::size_t kBits>
void write_run(const std::uint8_t* q, std::byte* run, std::size_t row) {
  if constexpr (kBits == 8) {
    for (std::size_t p = 0; p < 8; ++p) std::memcpy(run + 64 * p + 4 * row, q + 4 * p, 4);
  } else if constexpr (kBits < 4) {
    std::uint32_t low[2] = {}, third = 0;
    for (std::size_t p = 0; p < 8; ++p) {
      const std::uint32_t four = load_four(q + 4 * p);
      low[p % 2] |= (four & 0x03030303u) << 2 * (p / 2);
      third |= (four >> 2 & 0x01010101u) << p;
    }
    store(run + 4 * row, low[0]);
    store(run + 64 + 4 * row, low[1]);
    if (kBits == 3) store(run + 128 + 4 * row, third);
  } else {
    for (std::size_t p = 0; p < 4; ++p) {
      const std::uint32_t low = load_four(q + 4 * p), high = load_four(q + 16 + 4 * p);
      store(run + 64 * p + 4 * row, (low & 0x0f0f0f0fu) | (high & 0x0f0f0f0fu) << 4);
    }
    for (std::size_t word = 0; word < kBits - 4; ++word) {
      std::uint32_t bits = 0;
      for (std::size_t p = 0; p < kHighPieces<kBits>; ++p) {
        const std::uint32_t four = load_four(q + 4 * (kHighPieces<kBits> * word + p));
        bits |= (four >> 4 & kHighMask<kBits>) << (kBits - 4) * p;
      }
      store(run + 256 + 64 * word + 4 * row, bits);
    }
  }
}

template <std::size_t kBits>
void read_run(const std::byte* run, std::size_t row, std::uint8_t* q) {
  for (std::size_t p = 0; p < 8; ++p) {
    std::uint32_t four;
    if constexpr (kBits == 8) {
      four = load_four(run + 64 * p + 4 * row);
    } else if constexpr (kBits < 4) {
      four = load_four(run + 64 * (p % 2) + 4 * row) >> 2 * (p / 2) & 0x03030303u;
      if (kBits == 3) four |= (load_four(run + 128 + 4 * row) >> p & 0x01010101u) << 2;
    } else {
      four = load_four(run + 64 * (p % 4) + 4 * row) >> p / 4 * 4 & 0x0f0f0f0fu;
      if constexpr (kBits > 4) {
        const std::size_t word = p / kHighPieces<kBits>;
        const std::uint32_t bits = load_four(run + 256 + 64 * word + 4 * row);
        four |= (bits >> (kBits - 4) * (p % kHighPieces<kBits>)&kHighMask<kBits>) << 4;
      }
    }
    std::memcpy(q + 4 * p, &four, 4);
  }
}

// Unpacks the scale bytes of a superblock. If they have offsets, m is subtracted.
void read_scales(const FileBlock& block, Scales kind, Numbers* out);

// out[0, elements) = the exact values of a block.
void to_values(const Numbers& numbers, std::size_t elements, bool has_m, float* out);

// Traits of a quantized format:
//   Layout                                       its packed layout
//   kType, kName, kFileBytes                     as in Format
//   void read(const std::byte* in, FileBlock*)   takes a block of a file apart
template <class Traits>
struct Quantized {
  using Layout = typename Traits::Layout;
  static constexpr std::size_t kElements = Layout::kElements;

  static void to_numbers(const FileBlock& block, Numbers* out) {
    out->d = Layout::kByteD ? power_of_two(block.d) : f16_to_f32(block.d);
    out->m = f16_to_f32(block.m);
    for (std::size_t k = 0; k < kElements; ++k) {
      out->q[k] = static_cast<std::int16_t>(code_value<Layout>(block.q[k]) - Layout::kOffset);
    }
    out->scales[0] = out->scales[1] = out->offsets[0] = out->offsets[1] = 1;
    read_scales(block, Layout::kScales, out);
  }

  static void dequantize(const std::byte* in, std::size_t blocks, float* out) {
    for (std::size_t b = 0; b < blocks; ++b, in += Traits::kFileBytes, out += kElements) {
      FileBlock block;
      Numbers numbers;
      Traits::read(in, &block);
      to_numbers(block, &numbers);
      to_values(numbers, kElements, Layout::kHasM, out);
    }
  }

  static std::size_t packed_group_bytes(std::size_t columns) {
    return Layout::bytes(columns / kElements);
  }

  static bool pack_group(const std::byte* const* rows, std::size_t columns, std::byte* group) {
    const std::size_t blocks = columns / kElements;
    bool finite = true;
    for (std::size_t b = 0; b < blocks; ++b) {
      if (!Layout::kHasM && b % Layout::kChunkBlocks == 0)
        std::memset(group + Layout::d_at(b), 0, 64);  // words that no scale fills
      for (std::size_t row = 0; row < kPackRows; ++row) {
        const std::byte zeros[Traits::kFileBytes] = {};
        FileBlock block;
        Traits::read(rows[row] ? rows[row] + b * Traits::kFileBytes : zeros, &block);
        // Values of 2^120 or more may overflow when they are multiplied.
        finite &= Layout::kByteD ? block.d < 120 + 128 : f16_is_finite(block.d);
        finite &= f16_is_finite(block.m);
        write_block(block, group, b, row);
      }
    }
    return finite;
  }

  static void write_block(const FileBlock& block, std::byte* group, std::size_t b,
                          std::size_t row) {
    if (Layout::kByteD) {
      store(group + Layout::d_at(b) + row, static_cast<std::uint8_t>(block.d));
    } else {
      store(group + Layout::d_at(b) + 2 * row, block.d);
    }
    if (Layout::kHasM) store(group + Layout::m_at(b) + 2 * row, block.m);
    for (std::size_t word = 0; word < Layout::kScaleWords; ++word)
      std::memcpy(group + Layout::scales_at(b) + 64 * word + 4 * row, block.scales + 4 * word, 4);
    for (std::size_t run = 0; run < Layout::kRuns; ++run)
      write_run<Layout::kBits>(block.q + 32 * run, group + Layout::run_at(b, run), row);
  }

  static void read_numbers(const std::byte* group, std::size_t b, std::size_t row, Numbers* out) {
    FileBlock block;
    block.d = Layout::kByteD ? load<std::uint8_t>(group + Layout::d_at(b) + row)
                             : load<std::uint16_t>(group + Layout::d_at(b) + 2 * row);
    if (Layout::kHasM) block.m = load<std::uint16_t>(group + Layout::m_at(b) + 2 * row);
    for (std::size_t word = 0; word < Layout::kScaleWords; ++word)
      std::memcpy(block.scales + 4 * word, group + Layout::scales_at(b) + 64 * word + 4 * row, 4);
    for (std::size_t run = 0; run < Layout::kRuns; ++run)
      read_run<Layout::kBits>(group + Layout::run_at(b, run), row, block.q + 32 * run);
    to_numbers(block, out);
  }

  static void unpack_row(const std::byte* group, std::size_t columns, std::size_t row, float* out) {
    for (std::size_t b = 0; b < columns / kElements; ++b, out += kElements) {
      Numbers numbers;
      read_numbers(group, b, row, &numbers);
      to_values(numbers, kElements, Layout::kHasM, out);
    }
  }

  static Format format() {
    return {
        .type = Traits::kType,
        .name = Traits::kName,
        .block_elements = kElements,
        .block_bytes = Traits::kFileBytes,
        .activations = Layout::kRuns == 1 ? ActivationKind::kBlocks : ActivationKind::kSuperblocks,
        .has_m = Layout::kHasM,
        .dequantize = dequantize,
        .packed_group_bytes = packed_group_bytes,
        .pack_group = pack_group,
        .unpack_row = unpack_row,
        .read_numbers = read_numbers};
  }
};

// Traits of a format without blocks: Bits, the unsigned integer that a weight fills; to_f32(Bits);
// kExponent, the bits that are all set in what is not a finite number; kType and kName.
// Packed group: [columns k][16 rows] of Bits, padded with zeros to a multiple of 64 bytes.
template <class Traits>
struct Plain {
  using Bits = typename Traits::Bits;
  static constexpr std::size_t kBytes = sizeof(Bits);

  static void dequantize(const std::byte* in, std::size_t blocks, float* out) {
    for (std::size_t i = 0; i < blocks; ++i) out[i] = Traits::to_f32(load<Bits>(in + kBytes * i));
  }

  static std::size_t packed_group_bytes(std::size_t columns) {
    return (columns * kPackRows * kBytes + 63) / 64 * 64;
  }

  static bool pack_group(const std::byte* const* rows, std::size_t columns, std::byte* group) {
    bool finite = true;
    for (std::size_t row = 0; row < kPackRows; ++row) {
      for (std::size_t k = 0; k < columns; ++k) {
        const Bits bits = rows[row] ? load<Bits>(rows[row] + kBytes * k) : Bits{0};
        finite &= (bits & Traits::kExponent) != Traits::kExponent;
        store(group + kBytes * (kPackRows * k + row), bits);
      }
    }
    const std::size_t used = columns * kPackRows * kBytes;
    std::memset(group + used, 0, packed_group_bytes(columns) - used);
    return finite;
  }

  static void unpack_row(const std::byte* group, std::size_t columns, std::size_t row, float* out) {
    for (std::size_t k = 0; k < columns; ++k)
      out[k] = Traits::to_f32(load<Bits>(group + kBytes * (kPackRows * k + row)));
  }

  static Format format() {
    return {.type = Traits::kType,
            .name = Traits::kName,
            .block_elements = 1,
            .block_bytes = kBytes,
            .activations = ActivationKind::kFloats,
            .has_m = false,
            .dequantize = dequantize,
            .packed_group_bytes = packed_group_bytes,
            .pack_group = pack_group,
            .unpack_row = unpack_row,
            .read_numbers = nullptr};
  }
};

}  // namespace troupe::quant
