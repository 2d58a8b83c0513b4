#include <bit>

#include <troupe/runtime/quant/packing.h>

// BF16: the upper half of an f32.
//
// Packed group, 16 rows of `columns` k, padded to a multiple of 64 bytes:
//   offset 32 * k + 2 * row   bf16 w[k][row]
// An output is one chain over k in order:  acc = fma(f32(w), x, acc), from acc = 0.

namespace troupe::quant {
namespace {

struct BF16 {
  using Bits = std::uint16_t;
  static constexpr Type kType = Type::kBF16;
  static constexpr std::string_view kName = "BF16";
  static constexpr Bits kExponent = 0x7f80;
  static float to_f32(Bits bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }
};

}  // namespace

Format bf16_format() { return Plain<BF16>::format(); }

}  // namespace troupe::quant
