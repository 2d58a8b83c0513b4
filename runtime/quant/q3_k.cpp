#include <troupe/runtime/quant/packing.h>

// Q3_K: superblocks of 256 weights in sixteen sub-blocks j of 16, w = d * (scale[j] - 32) * (q -
// 4); q in 0..7, scales in 0..63.
//
// A superblock in a file, 110 bytes:
//   0    32 bytes: bit h of byte l is the third bit of q[32h + l]
//   32   64 bytes: bits 2i of byte 32h + l are the low bits of q[128h + 32i + l]
//   96   12 bytes: scale[j] has its low 4 bits in the low nibble (j < 8) or the high nibble of byte
//        j % 8, and its high 2 bits at bit 2 * (j / 4) of byte 8 + j % 4
//   108  f16 d
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 1792 bytes a superblock:
//   0    f16 d[16 rows]
//   32   32 bytes of zeros, so that every vector is aligned
//   64   scales, as in the file, u32 [3 words][16 rows]
//   256  8 runs of 128 bytes of two bits [2 p][16 rows][4 j] and u32 third bits[16 rows]
//
// An output with the activation superblocks (q_a, d_a), in k order, from acc = 0; all integers are
// exact in 32 bits:
//   isum = sum over j of (scale[j] - 32) * (sum over sub-block j of (q - 4) * q_a)
//   acc  = fma(f32(d) * d_a, f32(isum), acc)

namespace troupe::quant {
namespace {

struct Q3_K {
  using Layout = Q3_KLayout;
  static constexpr Type kType = Type::kQ3_K;
  static constexpr std::string_view kName = "Q3_K";
  static constexpr std::uint32_t kFileBytes = 110;

  static void read(const std::byte* in, FileBlock* out) {
    std::memcpy(out->scales, in + 96, 12);
    out->d = load<std::uint16_t>(in + 108);
    for (std::size_t k = 0; k < 256; ++k) {
      const auto low = std::to_integer<unsigned>(in[32 + k / 128 * 32 + k % 32]);
      const auto third = std::to_integer<unsigned>(in[k % 32]) >> (k / 32) & 1u;
      out->q[k] = static_cast<std::uint8_t>((low >> (k % 128 / 32 * 2) & 3u) | third << 2);
    }
  }
};

}  // namespace

Format q3_k_format() { return Quantized<Q3_K>::format(); }

}  // namespace troupe::quant
