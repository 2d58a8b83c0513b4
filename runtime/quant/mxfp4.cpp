#include <troupe/runtime/quant/packing.h>

// MXFP4: blocks of 32 weights, w = 2^(e - 128) * value[q] with q in 0..15: twice the numbers of 4
// bits that E2M1 has (Codes::kE2m1). Source: OCP Microscaling Formats 1.0, section 5.
//
// A block in a file, 17 bytes:
//   0   u8 e
//   1   16 bytes: byte j holds q[j] in its low nibble and q[16 + j] in its high nibble
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 1088 bytes for every four blocks:
//   0    u8 e[4 blocks][16 rows]
//   64   4 x 256 bytes of nibbles [4 p][16 rows][4 j]: low k = 4p + j, high k = 16 + 4p + j
// Blocks from 2^120 on are refused: their products may overflow.
//
// An output with the activation blocks (q_a, d_a), over the blocks in k order, from acc = 0:
//   isum = sum of value[q] * q_a    exact
//   acc  = fma(2^(e - 128) * d_a, f32(isum), acc)

namespace troupe::quant {
namespace {

struct MXFP4 {
  using Layout = MXFP4Layout;
  static constexpr Type kType = Type::kMXFP4;
  static constexpr std::string_view kName = "MXFP4";
  static constexpr std::uint32_t kFileBytes = 17;

  static void read(const std::byte* in, FileBlock* out) {
    out->d = std::to_integer<std::uint8_t>(in[0]);
    read_nibbles<16>(in + 1, out->q);
  }
};

}  // namespace

Format mxfp4_format() { return Quantized<MXFP4>::format(); }

}  // namespace troupe::quant
