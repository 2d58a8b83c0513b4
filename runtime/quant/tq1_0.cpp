#include <troupe/runtime/quant/file_only.h>

// TQ1_0: superblocks of 256 weights, w = d * (t - 1) with t in 0..2. A byte holds five of them as
// the digits of a fraction in base 3, the first digit first.
//
// A superblock in a file, 54 bytes:
//   0    32 bytes: byte i holds t[32n + i], n in 0..4
//   32   16 bytes: byte i holds t[160 + 16n + i]
//   48   4 bytes: byte i holds t[240 + 4n + i], n in 0..3
//   52   f16 d

namespace troupe::quant {
namespace {

struct Tq1_0 : ScaledIntegers<Tq1_0> {
  static constexpr Type kType = Type::kTQ1_0;
  static constexpr std::string_view kName = "TQ1_0";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 54;
  static constexpr float kReadError = 0;  // the scale is an f16

  static std::int8_t digit(std::byte packed, std::size_t n) {
    constexpr unsigned kPowers[] = {1, 3, 9, 27, 81};
    const unsigned part = std::to_integer<unsigned>(packed) * kPowers[n] & 255u;
    return static_cast<std::int8_t>(static_cast<int>(part * 3 >> 8) - 1);
  }
  static void integers(const std::byte* in, float* scales, std::int8_t* q) {
    std::fill_n(scales, kElements / 32, f16_to_f32(load<std::uint16_t>(in + 52)));
    for (std::size_t k = 0; k < 160; ++k) q[k] = digit(in[k % 32], k / 32);
    for (std::size_t k = 0; k < 80; ++k) q[160 + k] = digit(in[32 + k % 16], k / 16);
    for (std::size_t k = 0; k < 16; ++k) q[240 + k] = digit(in[48 + k % 4], k / 4);
  }
};

}  // namespace

Format tq1_0_format() { return file_only_format<Tq1_0>(); }

}  // namespace troupe::quant
