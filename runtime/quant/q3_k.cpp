#include <troupe/runtime/quant/file_only.h>

// Q3_K: superblocks of 256 weights, w = d * (scale - 32) * (q - 4) with q in 0..7 and a scale in
// 0..63 for every 16 of them.
//
// A superblock in a file, 110 bytes:
//   0    32 bytes: bit h of byte i is the third bit of q[32h + i]
//   32   64 bytes: bits 2j of byte 32h + i are the low bits of q[128h + 32j + i]
//   96   12 bytes: the scale of part s has its low 4 bits in the low nibble (s < 8) or the high
//        nibble of byte s % 8, and its high 2 bits at bit 2 * (s / 4) of byte 8 + s % 4
//   108  f16 d

namespace troupe::quant {
namespace {

struct Q3_K : RoundedValues<Q3_K> {
  static constexpr Type kType = Type::kQ3_K;
  static constexpr std::string_view kName = "Q3_K";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 110;

  static int scale(const std::byte* scales, std::size_t part) {
    const auto low = std::to_integer<unsigned>(scales[part % 8]) >> (part / 8 * 4) & 15u;
    const auto high = std::to_integer<unsigned>(scales[8 + part % 4]) >> (part / 4 * 2) & 3u;
    return static_cast<int>(low | high << 4) - 32;
  }
  static void dequantize(const std::byte* in, float* out) {
    const float d = f16_to_f32(load<std::uint16_t>(in + 108));
    for (std::size_t k = 0; k < kElements; ++k) {
      const auto low = std::to_integer<unsigned>(in[32 + k / 128 * 32 + k % 32]);
      const auto high = std::to_integer<unsigned>(in[k % 32]) >> (k / 32) & 1u;
      const int q = static_cast<int>(low >> (2 * (k % 128 / 32)) & 3u) - (high != 0 ? 0 : 4);
      out[k] = d * static_cast<float>(scale(in + 96, k / 16)) * static_cast<float>(q);
    }
  }
};

}  // namespace

Format q3_k_format() { return file_only_format<Q3_K>(); }

}  // namespace troupe::quant
