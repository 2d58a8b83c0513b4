#include <troupe/runtime/quant/packing.h>

// Q4_1: blocks of 32 weights, w = d * q + m, q in 0..15.
//
// A block in a file, 20 bytes:
//   0   f16 d
//   2   f16 m
//   4   16 bytes: byte j holds q[j] in its low nibble and q[16 + j] in its high nibble
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 320 bytes a block:
//   0    f16 d[16 rows]
//   32   f16 m[16 rows]
//   64   256 bytes of nibbles [4 p][16 rows][4 j]: low k = 4p + j, high k = 16 + 4p + j
//
// An output with the activation blocks (q_a, d_a, s_a), over the blocks in k order, from acc = 0:
//   isum = sum of q * q_a                     exact
//   acc  = fma(f32(d) * d_a, f32(isum), acc)
//   acc  = fma(f32(m), s_a, acc)

namespace troupe::quant {
namespace {

struct Q4_1 {
  using Layout = Q4_1Layout;
  static constexpr Type kType = Type::kQ4_1;
  static constexpr std::string_view kName = "Q4_1";
  static constexpr std::uint32_t kFileBytes = 20;

  static void read(const std::byte* in, FileBlock* out) {
    out->d = load<std::uint16_t>(in);
    out->m = load<std::uint16_t>(in + 2);
    read_nibbles<16>(in + 4, out->q);
  }
};

}  // namespace

Format q4_1_format() { return Quantized<Q4_1>::format(); }

}  // namespace troupe::quant
