#include <troupe/runtime/quant/packing.h>

// Q5_0: blocks of 32 weights, w = d * (q - 16), q in 0..31.
//
// A block in a file, 22 bytes:
//   0   f16 d
//   2   u32: bit j is the fifth bit of q[j]
//   6   16 bytes: byte j holds q[j] in its low nibble and q[16 + j] in its high nibble
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 704 bytes for every two blocks:
//   0    f16 d[2 blocks][16 rows]
//   64   2 x (256 bytes of nibbles [4 p][16 rows][4 j], u32 fifth bits[16 rows])
//
// An output with the activation blocks (q_a, d_a), over the blocks in k order, from acc = 0:
//   isum = sum of q * q_a - 16 * sum of q_a   exact
//   acc  = fma(f32(d) * d_a, f32(isum), acc)

namespace troupe::quant {
namespace {

struct Q5_0 {
  using Layout = Q5_0Layout;
  static constexpr Type kType = Type::kQ5_0;
  static constexpr std::string_view kName = "Q5_0";
  static constexpr std::uint32_t kFileBytes = 22;

  static void read(const std::byte* in, FileBlock* out) {
    out->d = load<std::uint16_t>(in);
    read_nibbles<16>(in + 6, out->q);
    add_fifth_bits(load<std::uint32_t>(in + 2), out->q);
  }
};

}  // namespace

Format q5_0_format() { return Quantized<Q5_0>::format(); }

}  // namespace troupe::quant
