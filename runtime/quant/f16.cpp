#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/quant/bytes.h>
#include <troupe/runtime/quant/format.h>

// F16: IEEE half precision.
//
// Packed group, 16 rows of `columns` k, padded to a multiple of 64 bytes:
//   offset 32 * k + 2 * row   f16 w[k][row]
// An output is one chain over k in order:  acc = fma(f32(w), x, acc), from acc = 0.

namespace troupe::quant {
namespace {

void dequantize(const std::byte* in, std::size_t blocks, float* out) {
  for (std::size_t i = 0; i < blocks; ++i)
    out[i] = kernels::f16_to_f32(load<std::uint16_t>(in + 2 * i));
}

std::size_t packed_group_bytes(std::size_t columns) {
  return (columns * kPackRows * 2 + 63) / 64 * 64;
}

bool pack_group(const std::byte* const* rows, std::size_t columns, std::byte* group) {
  bool finite = true;
  for (std::size_t row = 0; row < kPackRows; ++row) {
    for (std::size_t k = 0; k < columns; ++k) {
      const std::uint16_t bits = rows[row] ? load<std::uint16_t>(rows[row] + 2 * k) : 0;
      finite &= f16_is_finite(bits);
      store(group + 2 * (kPackRows * k + row), bits);
    }
  }
  const std::size_t used = columns * kPackRows * 2;
  std::memset(group + used, 0, packed_group_bytes(columns) - used);
  return finite;
}

void unpack_row(const std::byte* group, std::size_t columns, std::size_t row, float* out) {
  for (std::size_t k = 0; k < columns; ++k)
    out[k] = kernels::f16_to_f32(load<std::uint16_t>(group + 2 * (kPackRows * k + row)));
}

}  // namespace

Format f16_format() {
  return {.type = Type::kF16,
          .name = "F16",
          .block_elements = 1,
          .block_bytes = 2,
          .quantized_activations = false,
          .dequantize = dequantize,
          .packed_group_bytes = packed_group_bytes,
          .pack_group = pack_group,
          .unpack_row = unpack_row};
}

}  // namespace troupe::quant
