#include <troupe/runtime/quant/packing.h>

// Q4_K: superblocks of 256 weights in eight sub-blocks j of 32,
// w = d * scale[j] * q - dmin * offset[j]; q in 0..15, scales and offsets in 0..63.
//
// A superblock in a file, 144 bytes:
//   0    f16 d
//   2    f16 dmin
//   4    12 bytes: scales and offsets of 6 bits (packing.cpp takes them apart)
//   16   4 x 32 bytes: byte l of piece i holds q[64i + l] in its low and q[64i + 32 + l] in its
//        high nibble
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 2304 bytes a superblock:
//   0    f16 d[16 rows]
//   32   f16 dmin[16 rows]
//   64   the 12 bytes of scales as u32 [3 words][16 rows]
//   256  8 runs of 256 bytes of nibbles [4 p][16 rows][4 j]
//
// An output with the activation superblocks (q_a, d_a), in k order, from acc = 0; all integers are
// exact in 32 bits:
//   isum = sum over j of scale[j] * (sum over sub-block j of q * q_a)
//   ioff = sum over j of offset[j] * (sum over sub-block j of q_a)
//   acc  = fma(f32(d) * d_a, f32(isum), acc)
//   acc  = fma(-(f32(dmin) * d_a), f32(ioff), acc)

namespace troupe::quant {
namespace {

struct Q4_K {
  using Layout = Q4_KLayout;
  static constexpr Type kType = Type::kQ4_K;
  static constexpr std::string_view kName = "Q4_K";
  static constexpr std::uint32_t kFileBytes = 144;

  static void read(const std::byte* in, FileBlock* out) {
    out->d = load<std::uint16_t>(in);
    out->m = load<std::uint16_t>(in + 2);
    std::memcpy(out->scales, in + 4, 12);
    for (std::size_t i = 0; i < 4; ++i) read_nibbles<32>(in + 16 + 32 * i, out->q + 64 * i);
  }
};

}  // namespace

Format q4_k_format() { return Quantized<Q4_K>::format(); }

}  // namespace troupe::quant
