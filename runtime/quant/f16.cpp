#include <troupe/runtime/numerics/half.h>
#include <troupe/runtime/quant/packing.h>

// F16: IEEE half precision.
//
// Packed group, 16 rows of `columns` k, padded to a multiple of 64 bytes:
//   offset 32 * k + 2 * row   f16 w[k][row]
// An output is one chain over k in order:  acc = fma(f32(w), x, acc), from acc = 0.

namespace troupe::quant {
namespace {

struct F16 {
  using Bits = std::uint16_t;
  static constexpr Type kType = Type::kF16;
  static constexpr std::string_view kName = "F16";
  static constexpr Bits kExponent = 0x7c00;
  static float to_f32(Bits bits) { return f16_to_f32(bits); }
};

}  // namespace

Format f16_format() { return Plain<F16>::format(); }

}  // namespace troupe::quant
