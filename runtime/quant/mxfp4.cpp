#include <troupe/runtime/quant/file_only.h>

// MXFP4: blocks of 32 weights, w = 2^(e - 128) * value[q] with q in 0..15: twice the numbers of 4
// bits that E2M1 has. Source: OCP Microscaling Formats 1.0, section 5.
//
// A block in a file, 17 bytes:
//   0   u8 e
//   1   16 bytes: byte j holds q[j] in its low nibble and q[16 + j] in its high nibble

namespace troupe::quant {
namespace {

constexpr std::int8_t kValues[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct Mxfp4 : ScaledIntegers<Mxfp4> {
  static constexpr Type kType = Type::kMXFP4;
  static constexpr std::string_view kName = "MXFP4";
  static constexpr std::uint32_t kElements = 32, kFileBytes = 17;
  static constexpr float kReadError = 0;  // the scale is a power of two

  // The scale of Q8_0 is an f16. A scale below 2^-24 becomes 2^-24 or 0, which changes weights by
  // less than 1e-6; one above 2^15 becomes infinite, and the packer refuses the matrix.
  static void integers(const std::byte* in, float* scales, std::int8_t* q) {
    scales[0] = std::ldexp(1.0f, std::to_integer<int>(in[0]) - 128);
    look_up(kValues, in + 1, q);
  }
};

}  // namespace

Format mxfp4_format() { return file_only_format<Mxfp4>(); }

}  // namespace troupe::quant
