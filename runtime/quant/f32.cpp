#include <bit>

#include <troupe/runtime/quant/packing.h>

// F32: plain floats.
//
// Packed group, 16 rows of `columns` k:
//   offset 64 * k + 4 * row   f32 w[k][row]
// An output is one chain over k in order:  acc = fma(w, x, acc), from acc = 0.

namespace troupe::quant {
namespace {

struct F32 {
  using Bits = std::uint32_t;
  static constexpr Type kType = Type::kF32;
  static constexpr std::string_view kName = "F32";
  static constexpr Bits kExponent = 0x7f800000u;
  static float to_f32(Bits bits) { return std::bit_cast<float>(bits); }
};

}  // namespace

Format f32_format() { return Plain<F32>::format(); }

}  // namespace troupe::quant
