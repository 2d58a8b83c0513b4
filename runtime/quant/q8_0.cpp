#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/quant/bytes.h>
#include <troupe/runtime/quant/format.h>

// Q8_0: blocks of 32 weights, w = d * q, q in -128..127.
//
// A block in a file, 34 bytes:
//   0   f16 d
//   2   i8 q[32]
//
// Packed group, 16 rows of `columns` k: one chunk of 1088 bytes for every two blocks, in k order:
//   0     f16 d[2 blocks][16 rows]
//   64    2 x 512 bytes [8 g][16 rows][4 j]: q of k = 4g + j
// After an odd number of blocks the last chunk ends behind its first 512 bytes. So every vector of
// quants is aligned to 64 bytes, and scales and quants are one stream: scales apart from the quants
// were a second, short stream for the prefetcher and cost half of the memory's speed.
//
// An output with the activation blocks (q_a, d_a), over the blocks in k order, from acc = 0:
//   isum = sum of q * q_a                     exact
//   acc  = fma(f32(d) * d_a, f32(isum), acc)

namespace troupe::quant {
namespace {

constexpr std::size_t kBlockElements = 32;
constexpr std::size_t kBlockBytes = 34;
constexpr std::size_t kQuantBytes = kBlockElements * kPackRows;

// Offsets in a packed group.
std::size_t scales_at(std::size_t block) { return block / 2 * 1088 + block % 2 * 32; }
std::size_t quants_at(std::size_t block) { return block / 2 * 1088 + 64 + block % 2 * kQuantBytes; }

void dequantize(const std::byte* in, std::size_t blocks, float* out) {
  for (std::size_t b = 0; b < blocks; ++b, in += kBlockBytes, out += kBlockElements) {
    const float d = kernels::f16_to_f32(load<std::uint16_t>(in));
    for (std::size_t j = 0; j < kBlockElements; ++j)
      out[j] = d * static_cast<float>(load<std::int8_t>(in + 2 + j));
  }
}

std::size_t packed_group_bytes(std::size_t columns) {
  const std::size_t blocks = columns / kBlockElements;
  return (blocks + 1) / 2 * 64 + blocks * kQuantBytes;
}

bool pack_group(const std::byte* const* rows, std::size_t columns, std::byte* group) {
  const std::size_t blocks = columns / kBlockElements;
  bool finite = true;
  for (std::size_t block = 0; block < blocks; ++block) {
    std::byte* quants = group + quants_at(block);
    std::byte* scales = group + scales_at(block);
    for (std::size_t row = 0; row < kPackRows; ++row) {
      const std::byte zeros[kBlockBytes] = {};
      const std::byte* in = rows[row] ? rows[row] + block * kBlockBytes : zeros;
      const auto d = load<std::uint16_t>(in);
      finite &= f16_is_finite(d);
      for (std::size_t g = 0; g < 8; ++g) std::memcpy(quants + 64 * g + 4 * row, in + 2 + 4 * g, 4);
      store(scales + 2 * row, d);
    }
  }
  if (blocks % 2 != 0) std::memset(group + scales_at(blocks), 0, 32);  // no block has these
  return finite;
}

void unpack_row(const std::byte* group, std::size_t columns, std::size_t row, float* out) {
  for (std::size_t block = 0; block < columns / kBlockElements; ++block, out += kBlockElements) {
    const std::byte* quants = group + quants_at(block);
    const float d = kernels::f16_to_f32(load<std::uint16_t>(group + scales_at(block) + 2 * row));
    for (std::size_t k = 0; k < kBlockElements; ++k)
      out[k] = d * static_cast<float>(load<std::int8_t>(quants + 64 * (k / 4) + 4 * row + k % 4));
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
