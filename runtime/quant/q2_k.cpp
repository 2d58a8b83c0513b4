#include <troupe/runtime/quant/packing.h>

// Q2_K: superblocks of 256 weights in sixteen sub-blocks j of 16, w = d * scale[j] * q - m *
// offset[j]; q in 0..3, scales and offsets in 0..15.
//
// A superblock in a file, 84 bytes:
//   0   16 bytes: byte j holds scale[j] in its low and offset[j] in its high nibble
//   16  64 bytes: bits 2i of byte 32h + l are q[128h + 32i + l]
//   80  f16 d, f16 m
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 1344 bytes a superblock:
//   0    f16 d[16 rows]
//   32   f16 m[16 rows]
//   64   scales and offsets, as in the file, u32 [4 words][16 rows]
//   320  8 runs of 128 bytes of two bits [2 p][16 rows][4 j]
//
// An output with the activation superblocks (q_a, d_a), in k order, from acc = 0; all integers are
// exact in 32 bits:
//   isum = sum over j of scale[j] * (sum over sub-block j of q * q_a)
//   ioff = sum over j of offset[j] * (sum over sub-block j of q_a)
//   acc  = fma(f32(d) * d_a, f32(isum), acc)
//   acc  = fma(-f32(m) * d_a, f32(ioff), acc)

namespace troupe::quant {
namespace {

struct Q2_K {
  using Layout = Q2_KLayout;
  static constexpr Type kType = Type::kQ2_K;
  static constexpr std::string_view kName = "Q2_K";
  static constexpr std::uint32_t kFileBytes = 84;

  static void read(const std::byte* in, FileBlock* out) {
    std::memcpy(out->scales, in, 16);
    out->d = load<std::uint16_t>(in + 80);
    out->m = load<std::uint16_t>(in + 82);
    for (std::size_t k = 0; k < 256; ++k) {
      const auto byte = std::to_integer<unsigned>(in[16 + k / 128 * 32 + k % 32]);
      out->q[k] = static_cast<std::uint8_t>(byte >> (k % 128 / 32 * 2) & 3u);
    }
  }
};

}  // namespace

Format q2_k_format() { return Quantized<Q2_K>::format(); }

}  // namespace troupe::quant
