#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/model/files/gguf.h>
#include <troupe/model/files/gguf_cursor.h>

// The key-values of a GGUF header. For gguf_reader.cpp.

namespace troupe::model {

constexpr std::uint64_t kGgufEntryBytesMin = 8 + 4 + 1;

// A key-value and where it lies in the file: bytes [begin, end).
struct GgufEntryPlace {
  std::string key;
  std::uint64_t begin = 0, end = 0;
};

// Reads the `count` key-values at the cursor into the header, but for arrays of arrays, which no
// key that this program knows has. It appends their places in the file's order, unless `places` is
// null.
Status read_gguf_metadata(GgufCursor* cursor, std::uint64_t count, GgufHeader* header,
                          std::vector<GgufEntryPlace>* places);

}  // namespace troupe::model
