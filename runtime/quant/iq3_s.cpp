#include <troupe/runtime/quant/file_only.h>
#include <troupe/runtime/quant/iq_grids.h>

// IQ3_S: superblocks of 256 weights, w = d * (2 * scale + 1) * q with q of a lattice of 512 points,
// odd numbers from 1 to 15, and a scale in 0..15 for every 32 of them.
//
// A superblock in a file, 110 bytes:
//   0    f16 d
//   2    64 bytes: for each four weights, the low 8 bits of the index of a point
//   66   8 bytes: bit j of byte b is the ninth bit of index 8b + j
//   74   32 bytes: bit j of byte i is the sign of weight 8i + j
//   106  4 bytes: the scales of the parts 2j (low nibble) and 2j + 1 (high nibble)

namespace troupe::quant {
namespace {

struct Iq3S : ScaledIntegers<Iq3S> {
  static constexpr Type kType = Type::kIQ3_S;
  static constexpr std::string_view kName = "IQ3_S";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 110;

  static void integers(const std::byte* in, float* scales, std::int8_t* q) {
    const float d = f16_to_f32(load<std::uint16_t>(in));
    const auto value = [](unsigned number) { return static_cast<int>(2 * number + 1); };
    for (std::size_t part = 0; part < 8; ++part) {
      const auto both = std::to_integer<unsigned>(in[106 + part / 2]);
      const auto high = std::to_integer<unsigned>(in[66 + part]);
      scales[part] = d * static_cast<float>(2 * (both >> (part % 2 * 4) & 15u) + 1);
      for (std::size_t p = 0; p < 8; ++p) {
        const auto low = std::to_integer<unsigned>(in[2 + 8 * part + p]);
        const auto signs = std::to_integer<unsigned>(in[74 + 4 * part + p / 2]) >> (p % 2 * 4);
        read_iq3_point(kIq3SGrid[low | (high >> p & 1u) << 8], signs, value, q + 32 * part + 4 * p);
      }
    }
  }
};

}  // namespace

Format iq3_s_format() { return file_only_format<Iq3S>(); }

}  // namespace troupe::quant
