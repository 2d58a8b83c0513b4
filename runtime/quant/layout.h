#pragma once

#include <cstddef>
#include <cstdint>

// Where the parts of a quantized block lie in a packed group of 16 rows: one drawing for the
// packer, the scalar target, the vector tiles and GPU kernels, whose compiler reads this header: it
// includes nothing of ours. Constants only.
//
// A run is 32 consecutive weights of the 16 rows as kBits-bit integers, 64 * kBits bytes. Four
// bytes of a row meet four activations in one 32-bit lane, so a vector of 8 or 16 lanes holds 8 or
// 16 output rows. k counts within the run:
//   kBits 8   0    [8 p][16 rows][4 j]: q of k = 4p + j
//   4 to 6    0    [4 p][16 rows][4 j]: low nibble q of k = 4p + j, high nibble of k = 16 + 4p + j
//   2 and 3   0    [2 p][16 rows][4 j]: bits 2i and 2i + 1 are the low bits of k = 8i + 4p + j
//   kBits 3   128  u32 [16 rows]: bit 8j + p is the third bit of k = 4p + j
//   kBits 5   256  u32 [16 rows]: bit 8j + p is the fifth bit of k = 4p + j
//   kBits 6   256  u32 [2 h][16 rows]: bits 8j + 2p and 8j + 2p + 1 are the fifth and the sixth
//                  bit of k = 16h + 4p + j
//
// A chunk holds one block of 32, or a superblock of 256 with eight runs:
//   0     f16 d[16 rows]
//   32    f16 m[16 rows], or 32 bytes of zeros
//   64    the scale bytes of a superblock, u32 words [kScaleWords][16 rows]
//   then  the runs
// Blocks of 32 without m are chunks of two: the 64 bytes in front are f16 d[2 blocks][16 rows]. If
// d is a power of two, they are chunks of four: u8 e[4 blocks][16 rows]. The last chunk ends behind
// the last block's run. So every vector of quants is aligned to 64 bytes, and scales and quants are
// one stream: scales apart from the quants were a second, short stream for the prefetcher and cost
// half of the memory's speed.

namespace troupe::quant {

// What the integers of a run stand for: integers themselves, or numbers of a table of 16 bytes.
enum class Codes { kIntegers, kIq4, kE2m1 };

// The tables of codes, with byte i in bits 8i of two words. kIq4: signed bytes without an offset.
// kE2m1: twice the numbers of E2M1, plus kOffset 12, so that none is negative.
template <Codes kCodes>
alignas(16) inline constexpr std::uint64_t kCodeWords[2] = {0, 0};
template <>
alignas(16) inline constexpr std::uint64_t kCodeWords<Codes::kIq4>[2] = {0xf6eaddcfbfad9881u,
                                                                         0x7159453526190d01u};
template <>
alignas(16) inline constexpr std::uint64_t kCodeWords<Codes::kE2m1>[2] = {0x181412100f0e0d0cu,
                                                                          0x00040608090a0b0cu};

// The form of the scale bytes of a superblock. Each 32 weights, or each half of them, have a scale.
enum class Scales {
  kNone,       // a block of 32 has d and m alone
  kSixBits,    // 12 bytes: a scale and an offset of six bits for each 32 (quant/packing.cpp)
  kBytes,      // i8 scale[16], for each 16
  kSixLess32,  // 12 bytes: a scale of six bits, less 32, for each 16 (quant/q3_k.cpp)
  kNibbles,    // 16 bytes: a scale in the low, an offset in the high nibble, for each 16
  kRunBytes,   // i8 scale[8], for each 32
};

// A stored integer, or a number of the table, is kOffset more than the weight's. With kByteD the
// scale d is 2^(e - 128) with e in a byte, not an f16.
template <std::size_t kBits_, int kOffset_, bool kHasM_, std::size_t kRuns_ = 1,
          Scales kScales_ = Scales::kNone, Codes kCodes_ = Codes::kIntegers, bool kByteD_ = false>
struct Layout {
  static constexpr std::size_t kBits = kBits_;
  static constexpr Codes kCodes = kCodes_;
  static constexpr bool kByteD = kByteD_;
  // The bits of the integers that are multiplied: 8 are signed, fewer are not.
  static constexpr std::size_t kMathBits = kCodes == Codes::kIq4    ? 8
                                           : kCodes == Codes::kE2m1 ? 5
                                                                    : kBits;
  static constexpr int kOffset = kOffset_;
  static constexpr bool kHasM = kHasM_;
  static constexpr std::size_t kRuns = kRuns_;
  static constexpr Scales kScales = kScales_;
  static constexpr bool kHalfScales =
      kScales == Scales::kBytes || kScales == Scales::kSixLess32 || kScales == Scales::kNibbles;
  static constexpr std::size_t kScaleWords =
      kScales == Scales::kNone                                       ? 0
      : kScales == Scales::kRunBytes                                 ? 2
      : kScales == Scales::kSixBits || kScales == Scales::kSixLess32 ? 3
                                                                     : 4;
  static constexpr std::size_t kElements = 32 * kRuns;
  static constexpr std::size_t kRunBytes = 64 * kBits;
  static constexpr std::size_t kChunkBlocks = kRuns > 1 || kHasM ? 1 : kByteD ? 4 : 2;
  static constexpr std::size_t kFront = 64 + 64 * kScaleWords;
  static constexpr std::size_t kChunk = kFront + kChunkBlocks * kRuns * kRunBytes;

  static constexpr std::size_t d_at(std::size_t block) {
    return block / kChunkBlocks * kChunk + block % kChunkBlocks * (kByteD ? 16 : 32);
  }
  static constexpr std::size_t m_at(std::size_t block) { return d_at(block) + 32; }
  static constexpr std::size_t scales_at(std::size_t block) { return block * kChunk + 64; }
  static constexpr std::size_t run_at(std::size_t block, std::size_t run) {
    return block / kChunkBlocks * kChunk + kFront +
           (block % kChunkBlocks * kRuns + run) * kRunBytes;
  }
  static constexpr std::size_t bytes(std::size_t blocks) {
    return (blocks + kChunkBlocks - 1) / kChunkBlocks * kFront + blocks * kRuns * kRunBytes;
  }
};

constexpr std::size_t kScaleWordsMax = 4;

// The bits above a nibble (for three bits: above two) lie in a u32 word of each row: these say how
// many pieces of four weights share a word, and which bits are the first piece's. The next piece's
// are kBits
// - 4 further up.
template <std::size_t kBits>
constexpr std::size_t kHighPieces = kBits == 6 ? 4 : 8;
template <std::size_t kBits>
constexpr std::uint32_t kHighMask = kBits == 6 ? 0x03030303u : 0x01010101u;

// Weights without blocks: single values, 16 rows interleaved (quant/f32.cpp and its like).
struct F32Layout;
struct F16Layout;
struct BF16Layout;

using Q4_0Layout = Layout<4, 8, false>;
using Q4_1Layout = Layout<4, 0, true>;
using Q5_0Layout = Layout<5, 16, false>;
using Q5_1Layout = Layout<5, 0, true>;
using Q8_0Layout = Layout<8, 0, false>;
using Q4_KLayout = Layout<4, 0, true, 8, Scales::kSixBits>;
using Q5_KLayout = Layout<5, 0, true, 8, Scales::kSixBits>;
using Q6_KLayout = Layout<6, 32, false, 8, Scales::kBytes>;
using Q2_KLayout = Layout<2, 0, true, 8, Scales::kNibbles>;
using Q3_KLayout = Layout<3, 4, false, 8, Scales::kSixLess32>;
using IQ4_NLLayout = Layout<4, 0, false, 1, Scales::kNone, Codes::kIq4>;
using IQ4_XSLayout = Layout<4, 0, false, 8, Scales::kRunBytes, Codes::kIq4>;
using MXFP4Layout = Layout<4, 12, false, 1, Scales::kNone, Codes::kE2m1, true>;

// Returns the integer that is multiplied for a stored one.
template <class Layout>
constexpr int code_value(unsigned stored) {
  if constexpr (Layout::kCodes == Codes::kIntegers) {
    return Layout::kBits == 8 ? static_cast<std::int8_t>(stored) : static_cast<int>(stored);
  } else {
    const auto byte =
        static_cast<unsigned>(kCodeWords<Layout::kCodes>[stored >> 3 & 1u] >> (stored & 7u) * 8);
    return Layout::kMathBits == 8 ? static_cast<std::int8_t>(byte & 0xffu)
                                  : static_cast<int>(byte & 0xffu);
  }
}

}  // namespace troupe::quant
