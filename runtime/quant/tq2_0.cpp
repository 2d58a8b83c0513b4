#include <troupe/runtime/quant/file_only.h>

// TQ2_0: superblocks of 256 weights, w = d * (t - 1) with t in 0..3.
//
// A superblock in a file, 66 bytes:
//   0    64 bytes: bits 2j of byte 32h + i are t[128h + 32j + i]
//   64   f16 d

namespace troupe::quant {
namespace {

struct Tq2_0 : ScaledIntegers<Tq2_0> {
  static constexpr Type kType = Type::kTQ2_0;
  static constexpr std::string_view kName = "TQ2_0";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 66;
  static constexpr float kReadError = 0;  // the scale is an f16

  static void integers(const std::byte* in, float* scales, std::int8_t* q) {
    std::fill_n(scales, kElements / 32, f16_to_f32(load<std::uint16_t>(in + 64)));
    for (std::size_t k = 0; k < kElements; ++k) {
      const auto byte = std::to_integer<unsigned>(in[k / 128 * 32 + k % 32]);
      q[k] = static_cast<std::int8_t>(static_cast<int>(byte >> (2 * (k % 128 / 32)) & 3u) - 1);
    }
  }
};

}  // namespace

Format tq2_0_format() { return file_only_format<Tq2_0>(); }

}  // namespace troupe::quant
