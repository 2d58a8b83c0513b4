#include <bit>
#include <limits>

#include <troupe/runtime/quant/f8.h>

// E8M0: the exponent of a power of two with the bias 127, and nothing else; 0xff is a NaN. Folders
// store the scales of MXFP4 in this format (mxfp4_split.cpp). Source: OCP Microscaling Formats 1.0,
// section 5.4.1.

namespace troupe::quant {
namespace {

struct E8M0 : Float8<E8M0> {
  static constexpr Type kType = Type::kE8M0;
  static constexpr std::string_view kName = "E8M0";
  static float to_f32(std::uint8_t bits) {
    if (bits == 0xff) return std::numeric_limits<float>::quiet_NaN();
    if (bits == 0) return 0x1p-127f;
    return std::bit_cast<float>(std::uint32_t{bits} << 23);
  }
};

}  // namespace

Format e8m0_format() { return E8M0::format(); }

}  // namespace troupe::quant
