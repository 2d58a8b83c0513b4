#include <troupe/runtime/quant/bytes.h>
#include <troupe/runtime/quant/format.h>

// F32: plain floats.
//
// Packed group, 16 rows of `columns` k:
//   offset 64 * k + 4 * row   f32 w[k][row]
// An output is one chain over k in order:  acc = fma(w, x, acc), from acc = 0.

namespace troupe::quant {
namespace {

void dequantize(const std::byte* in, std::size_t blocks, float* out) {
  std::memcpy(out, in, blocks * sizeof(float));
}

std::size_t packed_group_bytes(std::size_t columns) { return columns * kPackRows * sizeof(float); }

bool pack_group(const std::byte* const* rows, std::size_t columns, std::byte* group) {
  bool finite = true;
  for (std::size_t row = 0; row < kPackRows; ++row) {
    for (std::size_t k = 0; k < columns; ++k) {
      const auto bits = rows[row] ? load<std::uint32_t>(rows[row] + 4 * k) : 0;
      finite &= (bits & 0x7f800000u) != 0x7f800000u;
      store(group + 4 * (kPackRows * k + row), bits);
    }
  }
  return finite;
}

void unpack_row(const std::byte* group, std::size_t columns, std::size_t row, float* out) {
  for (std::size_t k = 0; k < columns; ++k) out[k] = load<float>(group + 4 * (kPackRows * k + row));
}

}  // namespace

Format f32_format() {
  return {.type = Type::kF32,
          .name = "F32",
          .block_elements = 1,
          .block_bytes = 4,
          .quantized_activations = false,
          .dequantize = dequantize,
          .packed_group_bytes = packed_group_bytes,
          .pack_group = pack_group,
          .unpack_row = unpack_row};
}

}  // namespace troupe::quant
