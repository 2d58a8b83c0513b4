#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/model/files/gguf.h>
#include <troupe/model/files/gguf_cursor.h>

// The tensor table of a GGUF header. For gguf_reader.cpp.

namespace troupe::model {

constexpr std::uint64_t kGgufTensorBytesMin = 8 + 4 + 8 + 4 + 8;

// An entry of the tensor table as the file has it: the type is unchecked, and the offset counts
// from the beginning of the data.
struct RawGgufTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::uint32_t type = 0;
  std::uint64_t offset = 0;
};

// Reads the `count` entries at the cursor, and checks that this build can compute with their types.
// Tensors of whole numbers and doubles that belong to no model (is_model_tensor) are left out.
Status read_gguf_tensors(GgufCursor* cursor, std::uint64_t count, std::vector<RawGgufTensor>* out);

// Checks the tensors' sizes and places and puts them into the header. Their data begin at byte
// header->header_bytes of a file of `file_bytes`; no two may overlap or share a name.
Status place_gguf_tensors(const GgufCursor& cursor, std::vector<RawGgufTensor> raw,
                          std::uint64_t file_bytes, GgufHeader* header);

}  // namespace troupe::model
