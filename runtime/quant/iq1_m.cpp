#include <troupe/runtime/quant/file_only.h>
#include <troupe/runtime/quant/iq_grids.h>

// IQ1_M: superblocks of 256 weights, w = d * (2 * scale + 1) * (q + delta) with q in -1..1, of a
// lattice of 2048 points, a scale in 0..7 for every 16 and a delta of 1/8 or -1/8 for every 8 of
// them.
//
// A superblock in a file, 56 bytes:
//   0   32 bytes: for each eight weights, the low 8 bits of the index of a point
//   32  16 bytes: byte j has the high 3 bits of index 2j and above them the sign of its delta, then
//       those of 2j + 1
//   48  4 x u16: the scales of four parts of 16, the first in the low bits, and on top four bits of
//       the f16 d; the first word has the lowest of these

namespace troupe::quant {
namespace {

struct Iq1M : RoundedValues<Iq1M> {
  static constexpr Type kType = Type::kIQ1_M;
  static constexpr std::string_view kName = "IQ1_M";
  static constexpr std::uint32_t kElements = 256, kFileBytes = 56;

  static float d_of(const std::byte* in) {
    unsigned bits = 0;
    for (std::size_t j = 0; j < 4; ++j)
      bits |= unsigned{load<std::uint16_t>(in + 48 + 2 * j)} >> 12 << (4 * j);
    return f16_to_f32(static_cast<std::uint16_t>(bits));
  }
  static void dequantize(const std::byte* in, float* out) {
    const float d = d_of(in);
    for (std::size_t p = 0; p < 32; ++p) {
      const auto low = std::to_integer<unsigned>(in[p]);
      const auto high = std::to_integer<unsigned>(in[32 + p / 2]) >> (p % 2 * 4);
      const unsigned word = load<std::uint16_t>(in + 48 + 2 * (p / 8));
      std::int8_t q[8];
      read_iq1_point(kIq1SGrid[low | (high & 7u) << 8], (high & 8u) != 0 ? -1 : 1, q);
      scale_values(d * 0.125f * static_cast<float>(2 * (word >> (p / 2 % 4 * 3) & 7u) + 1), q,
                   out + 8 * p);
    }
  }
};

}  // namespace

Format iq1_m_format() { return file_only_format<Iq1M>(); }

}  // namespace troupe::quant
