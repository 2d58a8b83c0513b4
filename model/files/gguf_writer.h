#pragma once

#include <string>
#include <vector>

#include <troupe/model/files/gguf.h>

// The header of a GGUF file from its values. Used for models of several files that are read as if
// they were one GGUF file. Pure.

namespace troupe::model {

// What stands before the tensor table, with the key-values as a file has them.
struct GgufHeaderText {
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;  // as the key-values say
  std::uint64_t entry_count = 0;
  std::string entries;
};
// The bytes before the first tensor's, padded to the alignment. Lays the tensors one after the
// other, each at a multiple of it, and sets their offsets in the file; the rest of each is given.
std::string write_gguf_header(const GgufHeaderText& text, std::vector<TensorInfo>* tensors);
// The same of version 3 and alignment 32.
std::string write_gguf_header(const std::map<std::string, GgufValue, std::less<>>& metadata,
                              std::vector<TensorInfo>* tensors);

}  // namespace troupe::model
