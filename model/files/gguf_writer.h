#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/model/files/gguf.h>

// Writes the header of a GGUF file from its values, for models of several files that are read as
// one GGUF file. Pure.

namespace troupe::model {

// What comes before the tensor table, with the key-values as the bytes of a file.
struct GgufHeaderText {
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;  // as the key-values say
  std::uint64_t entry_count = 0;
  std::string entries;
};

// Returns the bytes before the first tensor's, padded to the alignment. It places the tensors one
// after the other, each at a multiple of the alignment, and sets their offsets in the file. The
// other fields of each tensor are given.
std::string write_gguf_header(const GgufHeaderText& text, std::vector<TensorInfo>* tensors);
// Returns the key-values as llama.cpp expects them: whole numbers of 32 bits where they fit,
// floating-point numbers and arrays of 32 bits; the map of characters as bytes.
GgufHeaderText narrow_gguf_text(const GgufMetadata& metadata);
// Does the same for version 3 and alignment 32.
std::string write_gguf_header(const GgufMetadata& metadata, std::vector<TensorInfo>* tensors);

}  // namespace troupe::model
