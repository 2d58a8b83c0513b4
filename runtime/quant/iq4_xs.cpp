#include <troupe/runtime/quant/packing.h>

// IQ4_XS: superblocks of 256 weights, w = d * (scale[b] - 32) * value[q] with q in 0..15
// (Codes::kIq4) and a scale in 0..63 for every 32 of them.
//
// A superblock in a file, 136 bytes:
//   0   f16 d
//   2   u16: bits 2b are the high 2 bits of scale[b]
//   4   4 bytes: the low 4 bits of the scales 2j (low nibble) and 2j + 1 (high nibble)
//   8   128 bytes: byte 16b + j holds q[32b + j] in its low nibble and q[32b + 16 + j] in its high
//       nibble
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 2240 bytes a superblock:
//   0    f16 d[16 rows]
//   32   32 bytes of zeros, so that every vector is aligned
//   64   scale[b] - 32 as i8 [2 words][16 rows][4]
//   192  8 runs of 256 bytes of nibbles [4 p][16 rows][4 j]
//
// An output with the activation superblocks (q_a, d_a), in k order, from acc = 0; all integers are
// exact in 32 bits:
//   isum = sum over b of (scale[b] - 32) * (sum over run b of value[q] * q_a)
//   acc  = fma(f32(d) * d_a, f32(isum), acc)

namespace troupe::quant {
namespace {

struct IQ4_XS {
  using Layout = IQ4_XSLayout;
  static constexpr Type kType = Type::kIQ4_XS;
  static constexpr std::string_view kName = "IQ4_XS";
  static constexpr std::uint32_t kFileBytes = 136;

  static void read(const std::byte* in, FileBlock* out) {
    out->d = load<std::uint16_t>(in);
    const unsigned high = load<std::uint16_t>(in + 2);
    for (std::size_t b = 0; b < 8; ++b) {
      const auto low = std::to_integer<unsigned>(in[4 + b / 2]) >> (b % 2 * 4) & 15u;
      out->scales[b] = static_cast<std::uint8_t>((low | (high >> (2 * b) & 3u) << 4) - 32);
      read_nibbles<16>(in + 8 + 16 * b, out->q + 32 * b);
    }
  }
};

}  // namespace

Format iq4_xs_format() { return Quantized<IQ4_XS>::format(); }

}  // namespace troupe::quant
