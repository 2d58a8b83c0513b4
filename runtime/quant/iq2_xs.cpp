#include <troupe/runtime/quant/file_only.h>
#include <troupe/runtime/quant/iq_grids.h>

// IQ2_XS: superblocks of 256 weights, w = d / 8 * (2 * scale + 1) * q with q of a lattice of 512
// points and a scale in 0..15 for every 16 of them.
//
// A superblock in a file, 74 bytes:
//   0   f16 d
//   2   32 x u16: for each eight weights, the index of a point in the low 9 bits, signs above them
//   66  8 bytes: the scales of the parts 2j (low nibble) and 2j + 1 (high nibble)

namespace troupe::quant {
namespace {

struct Iq2Xs : RoundedValues<Iq2Xs> {
  static constexpr Type kType = Type::kIQ2_XS;
  static constexpr std::string_view kName = "IQ2_XS";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 74;

  static void dequantize(const std::byte* in, float* out) {
    const float d = f16_to_f32(load<std::uint16_t>(in));
    for (std::size_t p = 0; p < 32; ++p) {
      const unsigned bits = load<std::uint16_t>(in + 2 + 2 * p);
      const auto scales = std::to_integer<unsigned>(in[66 + p / 4]);
      std::int8_t q[8];
      read_iq2_point(kIq2XsGrid[bits & 511u], even_signs(bits >> 9), q);
      scale_values(d * 0.125f * static_cast<float>(2 * (scales >> (p / 2 % 2 * 4) & 15u) + 1), q,
                   out + 8 * p);
    }
  }
};

}  // namespace

Format iq2_xs_format() { return file_only_format<Iq2Xs>(); }

}  // namespace troupe::quant
