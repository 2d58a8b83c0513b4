#include <troupe/runtime/quant/packing.h>

namespace troupe::quant {
namespace {

// Reads the 6-bit scales and offsets of eight sub-blocks of 32 from the 12 bytes of Q4_K and Q5_K.
void read_six_bit_scales(const std::uint8_t* in, Numbers* out) {
  // Sub-blocks 0..3 lie in the low six bits of bytes 0..3 (scales) and 4..7 (offsets); of 4..7 the
  // low four bits lie in bytes 8..11 and the high two on top of bytes 0..7.
  for (std::size_t j = 0; j < 8; ++j) {
    const int scale = j < 4 ? in[j] & 63 : (in[j + 4] & 15) | in[j - 4] >> 6 << 4;
    const int offset = j < 4 ? in[j + 4] & 63 : in[j + 4] >> 4 | in[j] >> 6 << 4;
    for (std::size_t half = 2 * j; half < 2 * j + 2; ++half) {
      out->scales[half] = static_cast<std::int16_t>(scale);
      out->offsets[half] = static_cast<std::int16_t>(offset);
    }
  }
}

}  // namespace

void read_scales(const FileBlock& block, Scales kind, Numbers* out) {
  const std::uint8_t* in = block.scales;
  if (kind == Scales::kNone) return;
  if (kind == Scales::kSixBits) read_six_bit_scales(in, out);
  if (kind == Scales::kSixBits || kind == Scales::kNibbles) out->m = -out->m;
  if (kind == Scales::kSixBits) return;
  for (std::size_t j = 0; j < 16; ++j) {
    int scale = 0;
    if (kind == Scales::kBytes) scale = static_cast<std::int8_t>(in[j]);
    if (kind == Scales::kRunBytes) scale = static_cast<std::int8_t>(in[j / 2]);
    if (kind == Scales::kNibbles) scale = in[j] & 15;
    if (kind == Scales::kNibbles) out->offsets[j] = static_cast<std::int16_t>(in[j] >> 4);
    if (kind == Scales::kSixLess32)
      scale = ((in[j % 8] >> j / 8 * 4 & 15) | (in[8 + j % 4] >> j / 4 * 2 & 3) << 4) - 32;
    out->scales[j] = static_cast<std::int16_t>(scale);
  }
}

void to_values(const Numbers& numbers, std::size_t elements, bool has_m, float* out) {
  for (std::size_t k = 0; k < elements; ++k) {
    // Both products are exact, because an f16 has 11 bits, a scale or an offset 7, and q at most 8.
    const float scale = numbers.d * static_cast<float>(numbers.scales[k / 16]);
    const float value = scale * static_cast<float>(numbers.q[k]);
    out[k] = has_m ? value + numbers.m * static_cast<float>(numbers.offsets[k / 16]) : value;
  }
}

}  // namespace troupe::quant
