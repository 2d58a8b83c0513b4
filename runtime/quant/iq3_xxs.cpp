#include <troupe/runtime/quant/file_only.h>
#include <troupe/runtime/quant/iq_grids.h>

// IQ3_XXS: superblocks of 256 weights, w = d / 4 * (2 * scale + 1) * q with q of a lattice of 256
// points and a scale in 0..15 for every 32 of them.
//
// A superblock in a file, 98 bytes:
//   0   f16 d
//   2   64 bytes: for each four weights, the index of a point
//   66  8 x u32: for each 32 weights, seven bits of signs for every eight of them, the first in the
//       low bits, and the scale on top

namespace troupe::quant {
namespace {

struct Iq3Xxs : ScaledIntegers<Iq3Xxs> {
  static constexpr Type kType = Type::kIQ3_XXS;
  static constexpr std::string_view kName = "IQ3_XXS";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 98;

  static void integers(const std::byte* in, float* scales, std::int8_t* q) {
    const float d = f16_to_f32(load<std::uint16_t>(in));
    const auto value = [](unsigned number) -> int { return kIq3XxsValues[number]; };
    for (std::size_t part = 0; part < 8; ++part) {
      const auto bits = load<std::uint32_t>(in + 66 + 4 * part);
      scales[part] = d * 0.25f * static_cast<float>(2 * (bits >> 28) + 1);
      for (std::size_t p = 0; p < 8; ++p) {
        const unsigned signs = even_signs(bits >> (p / 2 * 7) & 127u) >> (p % 2 * 4);
        const auto index = std::to_integer<unsigned>(in[2 + 8 * part + p]);
        read_iq3_point(kIq3XxsGrid[index], signs, value, q + 32 * part + 4 * p);
      }
    }
  }
};

}  // namespace

Format iq3_xxs_format() { return file_only_format<Iq3Xxs>(); }

}  // namespace troupe::quant
