#include <troupe/runtime/quant/packing.h>

// Q4_0: blocks of 32 weights, w = d * (q - 8), q in 0..15.
//
// A block in a file, 18 bytes:
//   0   f16 d
//   2   16 bytes: byte j holds q[j] in its low nibble and q[16 + j] in its high nibble
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 576 bytes for every two blocks:
//   0    f16 d[2 blocks][16 rows]
//   64   2 x 256 bytes of nibbles [4 p][16 rows][4 j]: low k = 4p + j, high k = 16 + 4p + j
//
// An output with the activation blocks (q_a, d_a), over the blocks in k order, from acc = 0:
//   isum = sum of q * q_a - 8 * sum of q_a    exact
//   acc  = fma(f32(d) * d_a, f32(isum), acc)

namespace troupe::quant {
namespace {

struct Q4_0 {
  using Layout = Q4_0Layout;
  static constexpr Type kType = Type::kQ4_0;
  static constexpr std::string_view kName = "Q4_0";
  static constexpr std::uint32_t kFileBytes = 18;

  static void read(const std::byte* in, FileBlock* out) {
    out->d = load<std::uint16_t>(in);
    read_nibbles<16>(in + 2, out->q);
  }
};

}  // namespace

Format q4_0_format() { return Quantized<Q4_0>::format(); }

}  // namespace troupe::quant
