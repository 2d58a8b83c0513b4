#include <array>
#include <string>

#include <troupe/runtime/quant/format.h>

namespace troupe::quant {

#define TROUPE_DECLARE_FORMAT(name, title, number) Format name##_format();
TROUPE_QUANT_FORMATS(TROUPE_DECLARE_FORMAT)
TROUPE_FILE_FORMATS(TROUPE_DECLARE_FORMAT)
#undef TROUPE_DECLARE_FORMAT

std::span<const Format> formats() {
#define TROUPE_FORMAT_ROW(name, title, number) name##_format(),
  static const std::array table = [] {
    std::array rows = {TROUPE_QUANT_FORMATS(TROUPE_FORMAT_ROW)};
    for (Format& row : rows) row.packed_type = row.type;
    return rows;
  }();
#undef TROUPE_FORMAT_ROW
  return table;
}

std::span<const Format> file_formats() {
#define TROUPE_FORMAT_ROW(name, title, number) name##_format(),
  static const std::array table = {TROUPE_FILE_FORMATS(TROUPE_FORMAT_ROW)};
#undef TROUPE_FORMAT_ROW
  return table;
}

const Format* find(std::uint32_t gguf_type_id) {
  for (const std::span<const Format> table : {formats(), file_formats()})
    for (const Format& format : table)
      if (static_cast<std::uint32_t>(format.type) == gguf_type_id) return &format;
  return nullptr;
}

std::uint64_t packed_bytes(const Format& format, std::uint64_t bytes) {
  const Format& packed = *find(format.packed_type);
  const std::uint64_t elements = bytes / format.block_bytes * format.block_elements;
  return elements / packed.block_elements * packed.block_bytes;
}

Result<std::uint64_t> row_bytes(const Format& format, std::uint64_t columns) {
  if (columns % format.block_elements != 0) {
    return Status(Code::kBadData, "a row of " + std::to_string(columns) + " " +
                                      std::string(format.name) + " weights is not a multiple of " +
                                      std::to_string(format.block_elements) + "; use another file");
  }
  const std::uint64_t blocks = columns / format.block_elements;
  if (blocks > (std::uint64_t{1} << 62) / format.block_bytes) {
    return Status(Code::kBadData, "a row of " + std::to_string(columns) + " " +
                                      std::string(format.name) +
                                      " weights is too large to be real; use another file");
  }
  return blocks * format.block_bytes;
}

}  // namespace troupe::quant
