#include <troupe/runtime/quant/file_only.h>
#include <troupe/runtime/quant/iq_grids.h>

// IQ2_XXS: superblocks of 256 weights, w = d / 8 * (2 * scale + 1) * q with q of a lattice of 256
// points and a scale in 0..15 for every 32 of them.
//
// A superblock in a file, 66 bytes:
//   0   f16 d
//   2   eight parts of 32 weights: 4 bytes are indices of points; a u32 has seven bits of signs for
//       each point, the first in the low bits, and the scale on top

namespace troupe::quant {
namespace {

struct Iq2Xxs : ScaledIntegers<Iq2Xxs> {
  static constexpr Type kType = Type::kIQ2_XXS;
  static constexpr std::string_view kName = "IQ2_XXS";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 66;

  static void integers(const std::byte* in, float* scales, std::int8_t* q) {
    const float d = f16_to_f32(load<std::uint16_t>(in));
    for (std::size_t part = 0; part < 8; ++part) {
      const std::byte* indices = in + 2 + 8 * part;
      const auto bits = load<std::uint32_t>(indices + 4);
      scales[part] = d * 0.125f * static_cast<float>(2 * (bits >> 28) + 1);
      for (std::size_t p = 0; p < 4; ++p)
        read_iq2_point(kIq2XxsGrid[std::to_integer<unsigned>(indices[p])],
                       even_signs(bits >> (7 * p) & 127u), q + 32 * part + 8 * p);
    }
  }
};

}  // namespace

Format iq2_xxs_format() { return file_only_format<Iq2Xxs>(); }

}  // namespace troupe::quant
