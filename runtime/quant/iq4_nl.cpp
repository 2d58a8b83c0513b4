#include <troupe/runtime/quant/packing.h>

// IQ4_NL: blocks of 32 weights, w = d * value[q] with q in 0..15 (Codes::kIq4).
//
// A block in a file, 18 bytes:
//   0   f16 d
//   2   16 bytes: byte j holds q[j] in its low nibble and q[16 + j] in its high nibble
//
// Packed group, 16 rows of `columns` k (layout.h): as of Q4_0, chunks of 576 bytes.
//
// An output with the activation blocks (q_a, d_a), over the blocks in k order, from acc = 0, as of
// Q8_0:
//   isum = sum of value[q] * q_a    exact
//   acc  = fma(f32(d) * d_a, f32(isum), acc)

namespace troupe::quant {
namespace {

struct IQ4_NL {
  using Layout = IQ4_NLLayout;
  static constexpr Type kType = Type::kIQ4_NL;
  static constexpr std::string_view kName = "IQ4_NL";
  static constexpr std::uint32_t kFileBytes = 18;

  static void read(const std::byte* in, FileBlock* out) {
    out->d = load<std::uint16_t>(in);
    read_nibbles<16>(in + 2, out->q);
  }
};

}  // namespace

Format iq4_nl_format() { return Quantized<IQ4_NL>::format(); }

}  // namespace troupe::quant
