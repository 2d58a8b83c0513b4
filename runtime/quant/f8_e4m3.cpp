#include <limits>

#include <troupe/runtime/quant/f8.h>

// F8_E4M3: a sign, four bits of an exponent with the bias 7, three bits of a fraction. There are no
// infinities; 0x7f and 0xff are NaNs (torch.float8_e4m3fn). Source: OCP 8-bit Floating Point 1.0.

namespace troupe::quant {
namespace {

struct F8E4M3 : Float8<F8E4M3> {
  static constexpr Type kType = Type::kF8_E4M3;
  static constexpr std::string_view kName = "F8_E4M3";
  static float to_f32(std::uint8_t bits) {
    if ((bits & 0x7fu) == 0x7fu) return std::numeric_limits<float>::quiet_NaN();
    // The same bits lie in an f16, whose bias is 15.
    const unsigned half = (bits & 0x80u) << 8 | (bits & 0x7fu) << 7;
    return 256.0f * f16_to_f32(static_cast<std::uint16_t>(half));
  }
};

}  // namespace

Format f8_e4m3_format() { return F8E4M3::format(); }

}  // namespace troupe::quant
