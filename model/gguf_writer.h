#pragma once

#include <string>
#include <vector>

#include <troupe/model/gguf.h>

// The header of a GGUF file (v3) from its values. Used for folders that are read as if they were
// one GGUF file. Pure.

namespace troupe::model {

// The bytes before the first tensor's, padded to 32. Lays the tensors one after the other, each at
// a multiple of 32, and sets their offsets in the file; the rest of each is given.
std::string write_gguf_header(const std::map<std::string, GgufValue, std::less<>>& metadata,
                              std::vector<TensorInfo>* tensors);

}  // namespace troupe::model
