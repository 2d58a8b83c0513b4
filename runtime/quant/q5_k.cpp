#include <troupe/runtime/quant/packing.h>

// Q5_K: superblocks of 256 weights in eight sub-blocks j of 32,
// w = d * scale[j] * q - dmin * offset[j]; q in 0..31, scales and offsets in 0..63.
//
// A superblock in a file, 176 bytes:
//   0    f16 d
//   2    f16 dmin
//   4    12 bytes: scales and offsets of 6 bits (packing.cpp takes them apart)
//   16   32 bytes: bit j of byte l is the fifth bit of q[32j + l]
//   48   4 x 32 bytes: byte l of piece i holds q[64i + l] in its low and q[64i + 32 + l] in its
//        high nibble
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 2816 bytes a superblock:
//   0    f16 d[16 rows]
//   32   f16 dmin[16 rows]
//   64   the 12 bytes of scales as u32 [3 words][16 rows]
//   256  8 runs of 256 bytes of nibbles [4 p][16 rows][4 j] and u32 fifth bits[16 rows]
//
// An output with the activation superblocks (q_a, d_a), in k order, from acc = 0; all integers are
// exact in 32 bits:
//   isum = sum over j of scale[j] * (sum over sub-block j of q * q_a)
//   ioff = sum over j of offset[j] * (sum over sub-block j of q_a)
//   acc  = fma(f32(d) * d_a, f32(isum), acc)
//   acc  = fma(-(f32(dmin) * d_a), f32(ioff), acc)

namespace troupe::quant {
namespace {

struct Q5_K {
  using Layout = Q5_KLayout;
  static constexpr Type kType = Type::kQ5_K;
  static constexpr std::string_view kName = "Q5_K";
  static constexpr std::uint32_t kFileBytes = 176;

  static void read(const std::byte* in, FileBlock* out) {
    out->d = load<std::uint16_t>(in);
    out->m = load<std::uint16_t>(in + 2);
    std::memcpy(out->scales, in + 4, 12);
    for (std::size_t i = 0; i < 4; ++i) read_nibbles<32>(in + 48 + 32 * i, out->q + 64 * i);
    for (std::size_t k = 0; k < 256; ++k) {
      const auto bits = std::to_integer<unsigned>(in[16 + k % 32]);
      out->q[k] = static_cast<std::uint8_t>(out->q[k] | (bits >> k / 32 & 1) << 4);
    }
  }
};

}  // namespace

Format q5_k_format() { return Quantized<Q5_K>::format(); }

}  // namespace troupe::quant
