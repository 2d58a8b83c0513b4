#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/quant/bytes.h>
#include <troupe/runtime/quant/format.h>

// Q4_1: blocks of 32 weights, w = d * q + m, q in 0..15.
//
// A block in a file, 20 bytes:
//   0   f16 d
//   2   f16 m
//   4   16 bytes: byte j holds q[j] in its low nibble and q[16 + j] in its high nibble
//
// Packed group, 16 rows of `columns` k: one chunk of 320 bytes a block, blocks in k order:
//   0    256 bytes of nibbles [4 g][16 rows][4 j]: low nibble k = 4g + j, high nibble k = 16 + 4g +
//   j 256  f16 d[16 rows] 288  f16 m[16 rows]
// Four bytes of a row meet four activations in one 32-bit lane, so a vector of 8 or 16 lanes holds
// 8 or 16 output rows.
//
// An output with the activation blocks (q_a, d_a, s_a), over the blocks in k order, from acc = 0:
//   isum = sum of q * q_a                     exact; |maddubs| <= 2*15*127, 8 of them fit 16 bits
//   acc  = fma(f32(d) * d_a, f32(isum), acc)
//   acc  = fma(f32(m), s_a, acc)

namespace troupe::quant {
namespace {

constexpr std::size_t kBlockElements = 32;
constexpr std::size_t kBlockBytes = 20;
constexpr std::size_t kChunkBytes = 320;

void dequantize(const std::byte* in, std::size_t blocks, float* out) {
  for (std::size_t b = 0; b < blocks; ++b, in += kBlockBytes, out += kBlockElements) {
    const float d = kernels::f16_to_f32(load<std::uint16_t>(in));
    const float m = kernels::f16_to_f32(load<std::uint16_t>(in + 2));
    for (std::size_t j = 0; j < 16; ++j) {
      const auto byte = std::to_integer<unsigned>(in[4 + j]);
      out[j] = d * static_cast<float>(byte & 15) + m;  // the product is exact
      out[16 + j] = d * static_cast<float>(byte >> 4) + m;
    }
  }
}

std::size_t packed_group_bytes(std::size_t columns) {
  return columns / kBlockElements * kChunkBytes;
}

bool pack_group(const std::byte* const* rows, std::size_t columns, std::byte* group) {
  bool finite = true;
  for (std::size_t block = 0; block < columns / kBlockElements; ++block, group += kChunkBytes) {
    for (std::size_t row = 0; row < kPackRows; ++row) {
      const std::byte zeros[kBlockBytes] = {};
      const std::byte* in = rows[row] ? rows[row] + block * kBlockBytes : zeros;
      const auto d = load<std::uint16_t>(in), m = load<std::uint16_t>(in + 2);
      finite &= f16_is_finite(d) && f16_is_finite(m);
      for (std::size_t g = 0; g < 4; ++g) std::memcpy(group + 64 * g + 4 * row, in + 4 + 4 * g, 4);
      store(group + 256 + 2 * row, d);
      store(group + 288 + 2 * row, m);
    }
  }
  return finite;
}

void unpack_row(const std::byte* group, std::size_t columns, std::size_t row, float* out) {
  for (std::size_t block = 0; block < columns / kBlockElements; ++block) {
    std::byte file_block[kBlockBytes];
    std::memcpy(file_block, group + 256 + 2 * row, 2);
    std::memcpy(file_block + 2, group + 288 + 2 * row, 2);
    for (std::size_t g = 0; g < 4; ++g)
      std::memcpy(file_block + 4 + 4 * g, group + 64 * g + 4 * row, 4);
    dequantize(file_block, 1, out + block * kBlockElements);
    group += kChunkBytes;
  }
}

}  // namespace

Format q4_1_format() {
  return {.type = Type::kQ4_1,
          .name = "Q4_1",
          .block_elements = kBlockElements,
          .block_bytes = kBlockBytes,
          .quantized_activations = true,
          .dequantize = dequantize,
          .packed_group_bytes = packed_group_bytes,
          .pack_group = pack_group,
          .unpack_row = unpack_row};
}

}  // namespace troupe::quant
