#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <troupe/model/source/tensor_source.h>

// Models in several GGUF files, NAME-00001-of-00003.gguf and so on, as llama.cpp's gguf-split and
// the Python package gguf write them. Each file is a GGUF file of some of the tensors. The first
// one has the model's key-values, and all of them have
//
//   split.no             the part's number, from 0
//   split.count          the number of parts; 0 and 1: the file is whole
//   split.tensors.count  the number of tensors of the whole model
//
// They are read as the file that they were cut from: the first part's key-values without these
// three, then every tensor, part after part, each at a multiple of the alignment. All writers lay
// files out in this way, so the parts have the content hash of the original, and both are one
// model.

namespace troupe::model {

// Returns the number of parts of the model that this header belongs to; 1 if it is whole.
//   Errors: kBadData if split.count is not a number.
Result<std::uint64_t> gguf_parts(const GgufHeader& header);

// Opens the model that the file `part` belongs to.
//   Errors: kNotFound naming a part that is not beside it; kBadData naming the file if a part is
//   damaged, misnamed, repeated, of another model, or lacks a tensor.
Result<std::unique_ptr<WholeModel>> open_gguf_split(const std::filesystem::path& part);

// Returns the number of parts that a file's name says its model has; 1 if it is whole.
std::uint64_t gguf_parts(const std::string& file_name);
// Returns the files beside `path` whose names say that they are parts of the same model, or `path`
// itself.
std::vector<std::filesystem::path> gguf_files(const std::filesystem::path& path);

}  // namespace troupe::model
