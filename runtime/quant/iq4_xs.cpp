#include <troupe/runtime/quant/file_only.h>

// IQ4_XS: superblocks of 256 weights, w = d * (scale - 32) * value[q] with q in 0..15 and a scale
// in 0..63 for every 32 of them.
//
// A superblock in a file, 136 bytes:
//   0   f16 d
//   2   u16: bits 2b are the high 2 bits of scale b
//   4   4 bytes: the low 4 bits of the scales 2j (low nibble) and 2j + 1 (high nibble)
//   8   128 bytes: byte 16b + j holds q[32b + j] in its low nibble and q[32b + 16 + j] in its high
//       nibble

namespace troupe::quant {
namespace {

struct Iq4Xs : ScaledIntegers<Iq4Xs> {
  static constexpr Type kType = Type::kIQ4_XS;
  static constexpr std::string_view kName = "IQ4_XS";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 136;

  static void integers(const std::byte* in, float* scales, std::int8_t* q) {
    const float d = f16_to_f32(load<std::uint16_t>(in));
    const unsigned high = load<std::uint16_t>(in + 2);
    for (std::size_t b = 0; b < kElements / 32; ++b) {
      const auto low = std::to_integer<unsigned>(in[4 + b / 2]) >> (b % 2 * 4) & 15u;
      const int scale = static_cast<int>(low | (high >> (2 * b) & 3u) << 4) - 32;
      scales[b] = d * static_cast<float>(scale);
      look_up(kIq4Values, in + 8 + 16 * b, q + 32 * b);
    }
  }
};

}  // namespace

Format iq4_xs_format() { return file_only_format<Iq4Xs>(); }

}  // namespace troupe::quant
