#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/quant/bytes.h>
#include <troupe/runtime/quant/format.h>

// Q8_0: blocks of 32 weights, w = d * q, q in -128..127.
//
// A block in a file, 34 bytes:
//   0   f16 d
//   2   i8 q[32]
//
// Packed group, 16 rows of `columns` k, n = columns / 32 blocks, padded to a multiple of 64 bytes:
//   512 * block               512 bytes [8 g][16 rows][4 j]: q of k = 4g + j
//   512 * n + 32 * block      f16 d[16 rows]
// The scales lie behind all quants so that every 64-byte vector of quants is aligned.
//
// An output with the activation blocks (q_a, d_a), over the blocks in k order, from acc = 0:
//   isum = sum of q * q_a                     exact
//   acc  = fma(f32(d) * d_a, f32(isum), acc)

namespace troupe::quant {
namespace {

constexpr std::size_t kBlockElements = 32;
constexpr std::size_t kBlockBytes = 34;
constexpr std::size_t kChunkBytes = 512;

void dequantize(const std::byte* in, std::size_t blocks, float* out) {
  for (std::size_t b = 0; b < blocks; ++b, in += kBlockBytes, out += kBlockElements) {
    const float d = kernels::f16_to_f32(load<std::uint16_t>(in));
    for (std::size_t j = 0; j < kBlockElements; ++j)
      out[j] = d * static_cast<float>(load<std::int8_t>(in + 2 + j));
  }
}

std::size_t packed_group_bytes(std::size_t columns) {
  return (columns / kBlockElements * (kChunkBytes + 2 * kPackRows) + 63) / 64 * 64;
}

bool pack_group(const std::byte* const* rows, std::size_t columns, std::byte* group) {
  const std::size_t blocks = columns / kBlockElements;
  bool finite = true;
  for (std::size_t block = 0; block < blocks; ++block) {
    std::byte* chunk = group + block * kChunkBytes;
    std::byte* scales = group + blocks * kChunkBytes + block * 2 * kPackRows;
    for (std::size_t row = 0; row < kPackRows; ++row) {
      const std::byte zeros[kBlockBytes] = {};
      const std::byte* in = rows[row] ? rows[row] + block * kBlockBytes : zeros;
      const auto d = load<std::uint16_t>(in);
      finite &= f16_is_finite(d);
      for (std::size_t g = 0; g < 8; ++g) std::memcpy(chunk + 64 * g + 4 * row, in + 2 + 4 * g, 4);
      store(scales + 2 * row, d);
    }
  }
  const std::size_t used = blocks * (kChunkBytes + 2 * kPackRows);
  std::memset(group + used, 0, packed_group_bytes(columns) - used);
  return finite;
}

void unpack_row(const std::byte* group, std::size_t columns, std::size_t row, float* out) {
  const std::size_t blocks = columns / kBlockElements;
  for (std::size_t block = 0; block < blocks; ++block, out += kBlockElements) {
    const std::byte* chunk = group + block * kChunkBytes;
    const float d = kernels::f16_to_f32(
        load<std::uint16_t>(group + blocks * kChunkBytes + block * 2 * kPackRows + 2 * row));
    for (std::size_t k = 0; k < kBlockElements; ++k)
      out[k] = d * static_cast<float>(load<std::int8_t>(chunk + 64 * (k / 4) + 4 * row + k % 4));
  }
}

}  // namespace

Format q8_0_format() {
  return {.type = Type::kQ8_0,
          .name = "Q8_0",
          .block_elements = kBlockElements,
          .block_bytes = kBlockBytes,
          .quantized_activations = true,
          .dequantize = dequantize,
          .packed_group_bytes = packed_group_bytes,
          .pack_group = pack_group,
          .unpack_row = unpack_row};
}

}  // namespace troupe::quant
