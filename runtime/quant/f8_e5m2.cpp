#include <troupe/runtime/quant/f8.h>

// F8_E5M2: the upper half of an f16 (torch.float8_e5m2). Source: OCP 8-bit Floating Point 1.0.

namespace troupe::quant {
namespace {

struct F8E5M2 : Float8<F8E5M2> {
  static constexpr Type kType = Type::kF8_E5M2;
  static constexpr std::string_view kName = "F8_E5M2";
  static float to_f32(std::uint8_t bits) {
    return f16_to_f32(static_cast<std::uint16_t>(bits << 8));
  }
};

}  // namespace

Format f8_e5m2_format() { return F8E5M2::format(); }

}  // namespace troupe::quant
