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
//   under 8   0    [4 p][16 rows][4 j]: low nibble q of k = 4p + j, high nibble of k = 16 + 4p + j
//   kBits 5   256  u32 [16 rows]: bit 8j + p is the fifth bit of k = 4p + j
//   kBits 6   256  u32 [2 h][16 rows]: bits 8j + 2p and 8j + 2p + 1 are the fifth and the sixth
//                  bit of k = 16h + 4p + j
//
// A chunk holds one block of 32, or a superblock of 256 with eight runs:
//   0     f16 d[16 rows]
//   32    f16 m[16 rows], or 32 bytes of zeros
//   64    the scale bytes of a superblock as the file has them, u32 words [kScaleWords][16 rows]
//   then  the runs
// Blocks of 32 without m are chunks of two: the 64 bytes in front are f16 d[2 blocks][16 rows], and
// after an odd number of blocks the last chunk ends behind its first run.
// So every vector of quants is aligned to 64 bytes, and scales and quants are one stream: scales
// apart from the quants were a second, short stream for the prefetcher and cost half of the
// memory's speed.

namespace troupe::quant {

// kOffset is what a stored integer exceeds the weight's by.
template <std::size_t kBits_, int kOffset_, bool kHasM_, std::size_t kRuns_ = 1,
          std::size_t kScaleWords_ = 0>
struct Layout {
  static constexpr std::size_t kBits = kBits_;
  static constexpr int kOffset = kOffset_;
  static constexpr bool kHasM = kHasM_;
  static constexpr std::size_t kRuns = kRuns_;
  static constexpr std::size_t kScaleWords = kScaleWords_;
  static constexpr std::size_t kElements = 32 * kRuns;
  static constexpr std::size_t kRunBytes = 64 * kBits;
  static constexpr bool kPaired = kRuns == 1 && !kHasM;
  static constexpr std::size_t kFront = 64 + 64 * kScaleWords;
  static constexpr std::size_t kChunk = kFront + (kPaired ? 2 : kRuns) * kRunBytes;

  static constexpr std::size_t d_at(std::size_t block) {
    return kPaired ? block / 2 * kChunk + block % 2 * 32 : block * kChunk;
  }
  static constexpr std::size_t m_at(std::size_t block) { return d_at(block) + 32; }
  static constexpr std::size_t scales_at(std::size_t block) { return block * kChunk + 64; }
  static constexpr std::size_t run_at(std::size_t block, std::size_t run) {
    return kPaired ? block / 2 * kChunk + kFront + block % 2 * kRunBytes
                   : block * kChunk + kFront + run * kRunBytes;
  }
  static constexpr std::size_t bytes(std::size_t blocks) {
    return kPaired ? (blocks + 1) / 2 * kFront + blocks * kRunBytes : blocks * kChunk;
  }
};

constexpr std::size_t kScaleWordsMax = 4;

// The bits above a nibble, a u32 word of each row: how many pieces of four weights share a word,
// and which bits of it are the first piece's. The next piece's are kBits - 4 further up.
template <std::size_t kBits>
constexpr std::size_t kHighPieces = kBits == 5 ? 8 : 4;
template <std::size_t kBits>
constexpr std::uint32_t kHighMask = kBits == 5 ? 0x01010101u : 0x03030303u;

using Q4_0Layout = Layout<4, 8, false>;
using Q4_1Layout = Layout<4, 0, true>;
using Q5_0Layout = Layout<5, 16, false>;
using Q5_1Layout = Layout<5, 0, true>;
using Q8_0Layout = Layout<8, 0, false>;
using Q4_KLayout = Layout<4, 0, true, 8, 3>;
using Q5_KLayout = Layout<5, 0, true, 8, 3>;
using Q6_KLayout = Layout<6, 32, false, 8, 4>;

}  // namespace troupe::quant
