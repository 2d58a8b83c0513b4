#include <troupe/runtime/quant/file_only.h>

// Q2_K: superblocks of 256 weights, w = d * scale * q - m * offset with q in 0..3 and a scale and
// an offset in 0..15 for every 16 of them.
//
// A superblock in a file, 84 bytes:
//   0   16 bytes: byte s holds the scale of part s in its low nibble, the offset in its high one
//   16  64 bytes: bits 2j of byte 32h + i are q[128h + 32j + i]
//   80  f16 d, f16 m

namespace troupe::quant {
namespace {

struct Q2_K : RoundedValues<Q2_K> {
  static constexpr Type kType = Type::kQ2_K;
  static constexpr std::string_view kName = "Q2_K";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 84;

  static void dequantize(const std::byte* in, float* out) {
    const float d = f16_to_f32(load<std::uint16_t>(in + 80));
    const float m = f16_to_f32(load<std::uint16_t>(in + 82));
    for (std::size_t k = 0; k < kElements; ++k) {
      const auto scales = std::to_integer<unsigned>(in[k / 16]);
      const auto byte = std::to_integer<unsigned>(in[16 + k / 128 * 32 + k % 32]);
      const unsigned q = byte >> (2 * (k % 128 / 32)) & 3u;
      const float scale = d * static_cast<float>(scales & 15u);
      const float offset = m * static_cast<float>(scales >> 4);
      out[k] = scale * static_cast<float>(q) - offset;
    }
  }
};

}  // namespace

Format q2_k_format() { return file_only_format<Q2_K>(); }

}  // namespace troupe::quant
