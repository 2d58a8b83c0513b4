#include <bit>
#include <cstddef>
#include <cstdint>

#include <troupe/runtime/quant/format.h>

// MXFP4_SPLIT: MXFP4 as Hugging Face folders have it: the blocks' numbers of 4 bits (E2M1) in one
// tensor, and their scales in another (e8m0.cpp). It is read into MXFP4, which loses nothing.
// Source: transformers, integrations/mxfp4.py.
//
// A block in a file, 16 bytes: byte j holds weight 2j in its low nibble and weight 2j + 1 in its
// high nibble. Without scales, a weight is the number itself.

namespace troupe::quant {
namespace {

struct Mxfp4Split {
  static constexpr std::uint32_t kElements = 32, kFileBytes = 16;
  static constexpr std::size_t kMxfp4Bytes = 17;          // of a block of MXFP4 in a file
  static constexpr std::uint8_t kUnscaledExponent = 127;  // of 2^0
  static constexpr float kNumbers[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                         -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};

  static unsigned low(std::byte pair) { return std::to_integer<unsigned>(pair) & 15u; }
  static unsigned high(std::byte pair) { return std::to_integer<unsigned>(pair) >> 4; }

  static void dequantize(const std::byte* in, std::size_t blocks, float* out) {
    for (std::size_t i = 0; i < blocks * kFileBytes; ++i) {
      out[2 * i] = kNumbers[low(in[i])];
      out[2 * i + 1] = kNumbers[high(in[i])];
    }
  }

  // Writes a block of MXFP4, whose byte j holds weights j and j + 16.
  static void write_block(const std::byte* in, std::uint8_t exponent, std::byte* out) {
    unsigned q[kElements];
    for (std::size_t i = 0; i < kFileBytes; ++i) {
      q[2 * i] = low(in[i]);
      q[2 * i + 1] = high(in[i]);
    }
    out[0] = std::byte{exponent};
    for (std::size_t i = 0; i < kFileBytes; ++i)
      out[1 + i] = static_cast<std::byte>(q[i] | q[i + kFileBytes] << 4);
  }

  static void repack(const std::byte* in, std::size_t blocks, std::byte* out) {
    for (std::size_t i = 0; i < blocks; ++i)
      write_block(in + i * kFileBytes, kUnscaledExponent, out + i * kMxfp4Bytes);
  }

  // Takes the scales as exponents: a scale is a power of two, so its exponent says everything;
  // 2^-127, the smallest scale, has the exponent 0.
  static void repack_scaled(const std::byte* in, std::size_t columns, const float* scales,
                            std::size_t scale_columns, std::byte* out) {
    for (std::size_t i = 0; i < columns / kElements; ++i) {
      const auto bits = std::bit_cast<std::uint32_t>(scales[i * kElements / scale_columns]);
      write_block(in + i * kFileBytes, static_cast<std::uint8_t>(bits >> 23),
                  out + i * kMxfp4Bytes);
    }
  }
};

}  // namespace

Format mxfp4_split_format() {
  Format format{};
  format.type = Type::kMXFP4_SPLIT;
  format.name = "MXFP4_SPLIT";
  format.block_elements = Mxfp4Split::kElements;
  format.block_bytes = Mxfp4Split::kFileBytes;
  format.activations = ActivationKind::kBlocks;
  format.dequantize = Mxfp4Split::dequantize;
  format.packed_type = Type::kMXFP4;
  format.repack = Mxfp4Split::repack;
  format.repack_scaled = Mxfp4Split::repack_scaled;
  return format;
}

}  // namespace troupe::quant
