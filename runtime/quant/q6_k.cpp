#include <troupe/runtime/quant/packing.h>

// Q6_K: superblocks of 256 weights in sixteen sub-blocks j of 16, w = d * scale[j] * (q - 32); q in
// 0..63, scales in -128..127.
//
// A superblock in a file, 210 bytes, two halves h of 128 weights:
//   0    2 h x 64 bytes: byte l holds the low four bits of q[128h + l] in its low and of
//        q[128h + 64 + l] in its high nibble
//   128  2 h x 32 bytes: bits 2i and 2i + 1 of byte l are the high bits of q[128h + 32i + l]
//   192  i8 scale[16]
//   208  f16 d
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 3392 bytes a superblock:
//   0    f16 d[16 rows]
//   32   32 bytes of zeros, so that every vector is aligned
//   64   scales, i8 [4 words][16 rows][4]
//   320  8 runs of 256 bytes of nibbles [4 p][16 rows][4 j] and u32 high bits[2 h][16 rows]
//
// An output with the activation superblocks (q_a, d_a), in k order, from acc = 0; all integers are
// exact in 32 bits:
//   isum = sum over j of scale[j] * (sum over sub-block j of (q - 32) * q_a)
//   acc  = fma(f32(d) * d_a, f32(isum), acc)

namespace troupe::quant {
namespace {

struct Q6_K {
  using Layout = Q6_KLayout;
  static constexpr Type kType = Type::kQ6_K;
  static constexpr std::string_view kName = "Q6_K";
  static constexpr std::uint32_t kFileBytes = 210;

  static void read(const std::byte* in, FileBlock* out) {
    out->d = load<std::uint16_t>(in + 208);
    std::memcpy(out->scales, in + 192, 16);
    for (std::size_t h = 0; h < 2; ++h) {
      read_nibbles<64>(in + 64 * h, out->q + 128 * h);
      for (std::size_t k = 0; k < 128; ++k) {
        const auto bits = std::to_integer<unsigned>(in[128 + 32 * h + k % 32]);
        std::uint8_t& q = out->q[128 * h + k];
        q = static_cast<std::uint8_t>(q | (bits >> k / 32 * 2 & 3) << 4);
      }
    }
  }
};

}  // namespace

Format q6_k_format() { return Quantized<Q6_K>::format(); }

}  // namespace troupe::quant
