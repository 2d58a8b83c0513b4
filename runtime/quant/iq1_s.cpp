#include <troupe/runtime/quant/file_only.h>
#include <troupe/runtime/quant/iq_grids.h>

// IQ1_S: superblocks of 256 weights, w = d * (2 * scale + 1) * (q + delta) with q in -1..1, of a
// lattice of 2048 points, and a scale in 0..7 and a delta of 1/8 or -1/8 for every 32 of them.
//
// A superblock in a file, 50 bytes:
//   0   f16 d
//   2   32 bytes: for each eight weights, the low 8 bits of the index of a point
//   34  8 x u16: for each 32 weights, the high 3 bits of the four indices, the first in the lowest
//       bits, the scale at bit 12, and the sign of delta on top

namespace troupe::quant {
namespace {

struct Iq1S : ScaledIntegers<Iq1S> {
  static constexpr Type kType = Type::kIQ1_S;
  static constexpr std::string_view kName = "IQ1_S";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 50;

  static void integers(const std::byte* in, float* scales, std::int8_t* q) {
    const float d = f16_to_f32(load<std::uint16_t>(in));
    for (std::size_t part = 0; part < 8; ++part) {
      const unsigned bits = load<std::uint16_t>(in + 34 + 2 * part);
      scales[part] = d * 0.125f * static_cast<float>(2 * (bits >> 12 & 7u) + 1);
      for (std::size_t p = 0; p < 4; ++p) {
        const auto low = std::to_integer<unsigned>(in[2 + 4 * part + p]);
        read_iq1_point(kIq1SGrid[low | (bits >> (3 * p) & 7u) << 8], (bits >> 15) != 0 ? -1 : 1,
                       q + 32 * part + 8 * p);
      }
    }
  }
};

}  // namespace

Format iq1_s_format() { return file_only_format<Iq1S>(); }

}  // namespace troupe::quant
