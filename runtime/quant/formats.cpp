#include <array>
#include <string>

#include <troupe/runtime/quant/format.h>

namespace troupe::quant {

// The table. A new format is one source file that defines NAME_format(), and NAME in this list.
#define TROUPE_QUANT_FORMATS(ROW) \
  ROW(f32)                        \
  ROW(f16)                        \
  ROW(bf16)                       \
  ROW(q4_0)                       \
  ROW(q4_1)                       \
  ROW(q5_0)                       \
  ROW(q5_1)                       \
  ROW(q8_0)                       \
  ROW(q4_k)                       \
  ROW(q5_k)                       \
  ROW(q6_k)

#define TROUPE_DECLARE_FORMAT(name) Format name##_format();
TROUPE_QUANT_FORMATS(TROUPE_DECLARE_FORMAT)
#undef TROUPE_DECLARE_FORMAT

std::span<const Format> formats() {
#define TROUPE_FORMAT_ROW(name) name##_format(),
  static const std::array table = {TROUPE_QUANT_FORMATS(TROUPE_FORMAT_ROW)};
#undef TROUPE_FORMAT_ROW
  return table;
}

const Format* find(std::uint32_t gguf_type_id) {
  for (const Format& format : formats()) {
    if (static_cast<std::uint32_t>(format.type) == gguf_type_id) return &format;
  }
  return nullptr;
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
