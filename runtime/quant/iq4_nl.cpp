#include <troupe/runtime/quant/file_only.h>

// IQ4_NL: blocks of 32 weights, w = d * value[q] with q in 0..15 (kIq4Values).
//
// A block in a file, 18 bytes:
//   0   f16 d
//   2   16 bytes: byte j holds q[j] in its low nibble and q[16 + j] in its high nibble

namespace troupe::quant {
namespace {

struct Iq4Nl : ScaledIntegers<Iq4Nl> {
  static constexpr Type kType = Type::kIQ4_NL;
  static constexpr std::string_view kName = "IQ4_NL";
  static constexpr std::uint32_t kElements = 32, kFileBytes = 18;
  static constexpr float kReadError = 0;  // the scale is an f16

  static void integers(const std::byte* in, float* scales, std::int8_t* q) {
    scales[0] = f16_to_f32(load<std::uint16_t>(in));
    look_up(kIq4Values, in + 2, q);
  }
};

}  // namespace

Format iq4_nl_format() { return file_only_format<Iq4Nl>(); }

}  // namespace troupe::quant
