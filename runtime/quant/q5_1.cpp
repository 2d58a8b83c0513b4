#include <troupe/runtime/quant/packing.h>

// Q5_1: blocks of 32 weights, w = d * q + m, q in 0..31.
//
// A block in a file, 24 bytes:
//   0   f16 d
//   2   f16 m
//   4   u32: bit j is the fifth bit of q[j]
//   8   16 bytes: byte j holds q[j] in its low nibble and q[16 + j] in its high nibble
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 384 bytes a block:
//   0    f16 d[16 rows]
//   32   f16 m[16 rows]
//   64   256 bytes of nibbles [4 p][16 rows][4 j], u32 fifth bits[16 rows]
//
// An output with the activation blocks (q_a, d_a, s_a), over the blocks in k order, from acc = 0:
//   isum = sum of q * q_a                     exact
//   acc  = fma(f32(d) * d_a, f32(isum), acc)
//   acc  = fma(f32(m), s_a, acc)

namespace troupe::quant {
namespace {

struct Q5_1 {
  using Layout = Q5_1Layout;
  static constexpr Type kType = Type::kQ5_1;
  static constexpr std::string_view kName = "Q5_1";
  static constexpr std::uint32_t kFileBytes = 24;

  static void read(const std::byte* in, FileBlock* out) {
    out->d = load<std::uint16_t>(in);
    out->m = load<std::uint16_t>(in + 2);
    read_nibbles<16>(in + 8, out->q);
    add_fifth_bits(load<std::uint32_t>(in + 4), out->q);
  }
};

}  // namespace

Format q5_1_format() { return Quantized<Q5_1>::format(); }

}  // namespace troupe::quant
