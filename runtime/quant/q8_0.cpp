#include <troupe/runtime/quant/packing.h>

// Q8_0: blocks of 32 weights, w = d * q, q in -128..127.
//
// A block in a file, 34 bytes:
//   0   f16 d
//   2   i8 q[32]
//
// Packed group, 16 rows of `columns` k (layout.h): one chunk of 1088 bytes for every two blocks:
//   0     f16 d[2 blocks][16 rows]
//   64    2 x 512 bytes [8 p][16 rows][4 j]: q of k = 4p + j
//
// An output with the activation blocks (q_a, d_a), over the blocks in k order, from acc = 0:
//   isum = sum of q * q_a                     exact
//   acc  = fma(f32(d) * d_a, f32(isum), acc)

namespace troupe::quant {
namespace {

struct Q8_0 {
  using Layout = Q8_0Layout;
  static constexpr Type kType = Type::kQ8_0;
  static constexpr std::string_view kName = "Q8_0";
  static constexpr std::uint32_t kFileBytes = 34;

  static void read(const std::byte* in, FileBlock* out) {
    out->d = load<std::uint16_t>(in);
    std::memcpy(out->q, in + 2, 32);
  }
};

}  // namespace

Format q8_0_format() { return Quantized<Q8_0>::format(); }

}  // namespace troupe::quant
