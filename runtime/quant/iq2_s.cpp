#include <troupe/runtime/quant/file_only.h>
#include <troupe/runtime/quant/iq_grids.h>

// IQ2_S: superblocks of 256 weights, w = d / 8 * (2 * scale + 1) * q with q of a lattice of 1024
// points and a scale in 0..15 for every 16 of them.
//
// A superblock in a file, 82 bytes:
//   0   f16 d
//   2   32 bytes: for each eight weights, the low 8 bits of the index of a point
//   34  32 bytes: their signs
//   66  8 bytes: bits 2j of byte b are the high bits of index 4b + j
//   74  8 bytes: the scales of the parts 2j (low nibble) and 2j + 1 (high nibble)

namespace troupe::quant {
namespace {

struct Iq2S : RoundedValues<Iq2S> {
  static constexpr Type kType = Type::kIQ2_S;
  static constexpr std::string_view kName = "IQ2_S";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 82;

  static void dequantize(const std::byte* in, float* out) {
    const float d = f16_to_f32(load<std::uint16_t>(in));
    for (std::size_t p = 0; p < 32; ++p) {
      const auto low = std::to_integer<unsigned>(in[2 + p]);
      const auto high = std::to_integer<unsigned>(in[66 + p / 4]) >> (p % 4 * 2) & 3u;
      const auto scales = std::to_integer<unsigned>(in[74 + p / 4]);
      std::int8_t q[8];
      read_iq2_point(kIq2SGrid[low | high << 8], std::to_integer<unsigned>(in[34 + p]), q);
      scale_values(d * 0.125f * static_cast<float>(2 * (scales >> (p / 2 % 2 * 4) & 15u) + 1), q,
                   out + 8 * p);
    }
  }
};

}  // namespace

Format iq2_s_format() { return file_only_format<Iq2S>(); }

}  // namespace troupe::quant
