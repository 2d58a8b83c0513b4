#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <troupe/runtime/quant/format_list.h>
#include <troupe/runtime/status.h>

// Weight formats as model files store them: one row of format_list.h and one source file each. Used
// by the model readers (sizes), the packer (runtime/kernels) and the tests' oracle. Pure.

namespace troupe::quant {

// The numbers are GGUF's, so that a file's field is this enum after a look-up.
#define TROUPE_FORMAT_ENUMERATOR(name, title, number) k##title = number,
enum class Type : std::uint32_t {
  TROUPE_QUANT_FORMATS(TROUPE_FORMAT_ENUMERATOR) TROUPE_FILE_FORMATS(TROUPE_FORMAT_ENUMERATOR)
};
#undef TROUPE_FORMAT_ENUMERATOR

// The activations by which a format's weights are multiplied (kernels::QuantizedRows for the int8
// ones).
enum class ActivationKind : std::uint8_t { kFloats, kBlocks, kSuperblocks };

constexpr std::size_t kBlockElementsMax = 256;

// One block of one row as the integers and floats that a product is made of:
//   w[k] = d * scales[k / 16] * q[k] + m * offsets[k / 16]
struct Numbers {
  float d, m;  // m has the sign with which it is added
  std::int16_t q[kBlockElementsMax];
  std::int16_t scales[kBlockElementsMax / 16];   // 1 in blocks of 32
  std::int16_t offsets[kBlockElementsMax / 16];  // likewise
};

struct Format {
  Type type;
  std::string_view name;         // as GGUF spells it, e.g. "Q4_1"
  std::uint32_t block_elements;  // consecutive elements of a row that share scales (1: none)
  std::uint32_t block_bytes;     // bytes of a block in a file
  ActivationKind activations;
  bool has_m;  // there is an offset, which the product adds last in a block
  // out[0, blocks * block_elements) = the exact f32 values of `blocks` blocks.
  // Oracle: the reference Python package `gguf`, through tests/data/golden/quants.safetensors.
  void (*dequantize)(const std::byte* in, std::size_t blocks, float* out);

  // The format with which the kernels compute: the format itself, or the one into which it is read.
  // Then repack writes `blocks` blocks in that format, as a file would hold them, and the functions
  // below are null. A weight changes by at most `read_error` of the largest magnitude in its block
  // of that format, unless scales are so small that f16 has few bits for them.
  Type packed_type;
  float read_error;
  void (*repack)(const std::byte* in, std::size_t blocks, std::byte* out);
  // Repacks a row of a format whose scales are a tensor of their own (ScaleGrid); null for other
  // formats. Weight k is multiplied by scales[k / scale_columns] in f32 and rounded once.
  void (*repack_scaled)(const std::byte* in, std::size_t columns, const float* scales,
                        std::size_t scale_columns, std::byte* out);

  // The functions below pack for the kernels: kPackRows rows interleaved, in the layout that the
  // format's source file draws. `columns` is a multiple of block_elements.

  // Returns the bytes of a packed group, a multiple of 64.
  std::size_t (*packed_group_bytes)(std::size_t columns);
  // Writes a whole group from kPackRows file rows; a null row is all zeros. Returns false if a
  // scale (or an unquantized weight) is not a finite number.
  bool (*pack_group)(const std::byte* const* rows, std::size_t columns, std::byte* group);
  // out (columns) = row `row` in [0, kPackRows) of a packed group, exact.
  void (*unpack_row)(const std::byte* group, std::size_t columns, std::size_t row, float* out);
  // Reads block `block` of row `row` of a packed group; null if there are no blocks.
  void (*read_numbers)(const std::byte* group, std::size_t block, std::size_t row, Numbers* out);
};
constexpr std::size_t kPackRows = 16;

// Returns a format that this build can read, nullptr for any other id.
const Format* find(std::uint32_t gguf_type_id);
inline const Format* find(Type type) { return find(static_cast<std::uint32_t>(type)); }
// Returns every format with kernels of its own, in table order, and those that are read into one of
// them.
std::span<const Format> formats();
std::span<const Format> file_formats();

// Returns the bytes of a row of `columns` elements; kBadData if `columns` is not a multiple of the
// block, or the product overflows 2^62.
Result<std::uint64_t> row_bytes(const Format& format, std::uint64_t columns);
// Returns the number of bytes that `bytes` bytes of a file take once they are packed.
std::uint64_t packed_bytes(const Format& format, std::uint64_t bytes);

}  // namespace troupe::quant
