#pragma once

#include <cstddef>
#include <cstdint>

#include <troupe/runtime/quant/format.h>

// The rows by which a weight matrix is multiplied: f32, and int8 blocks of them for quantized
// weights. Plain pointers; the maker of one owns the memory (model/transformer/step_context.h).

namespace troupe::kernels {

constexpr std::size_t kBlock = 32;        // activations share a scale over 32 elements
constexpr std::size_t kSuperblock = 256;  // or over 256, for K-quants
constexpr std::size_t kSumElements = 16;  // the number of quants in one of a superblock's sums

// Activations of B rows for quantized weights: int8 blocks along K, of 32 or of 256 elements, or
// both, as the weights ask for; pointers that nobody needs are null. All row-major. d = amax/127, q
//   = round-to-nearest-even(x * 127/amax) in [-127,127], over a block; a block with amax < 2^-100
//   is all zero
struct QuantizedRows {
  // Blocks of 32 (quant::ActivationKind::kBlocks).
  std::int8_t* q = nullptr;     // (B,K)
  float* d = nullptr;           // (B,K/32)
  float* s = nullptr;           // (B,K/32): d * float(sum)
  std::int32_t* sum = nullptr;  // (B,K/32): the sum of a block's q
  // Superblocks of 256 (kSuperblocks).
  std::int8_t* super_q = nullptr;      // (B,K)
  float* super_d = nullptr;            // (B,K/256)
  std::int16_t* super_sums = nullptr;  // (B,K/16): the sums of 16 q

  // Returns the same rows from element `elements` on, a multiple of the blocks that are present.
  QuantizedRows from(std::size_t elements) const {
    QuantizedRows out = *this;
    if (q) out.q += elements, out.d += elements / kBlock;
    if (q) out.s += elements / kBlock, out.sum += elements / kBlock;
    if (super_q) out.super_q += elements, out.super_d += elements / kSuperblock;
    if (super_q) out.super_sums += elements / kSumElements;
    return out;
  }
};
// Returns the kind of rows that `type` multiplies.
quant::ActivationKind activation_kind(quant::Type type);
inline bool wants_quantized(quant::Type type) {
  return activation_kind(type) != quant::ActivationKind::kFloats;
}

struct Activations {
  std::size_t rows = 0, columns = 0;  // B, K
  const float* x = nullptr;  // (B,K), row stride `columns`; may be null if only `quantized` is read
  QuantizedRows quantized;   // what the weights ask for; null if they ask for f32

  // Returns the activations without the rows before `row`.
  Activations from_row(std::size_t row) const {
    return {rows - row, columns, x ? x + row * columns : nullptr, quantized.from(row * columns)};
  }
};

}  // namespace troupe::kernels
