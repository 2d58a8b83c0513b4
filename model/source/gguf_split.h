#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include <troupe/model/source/tensor_source.h>

// Models in several GGUF files, NAME-00001-of-00003.gguf and so on, as llama.cpp's gguf-split and
// the Python package gguf write them. Each is a GGUF file of some of the tensors; the first has the
// model's key-values, and all of them say
//
//   split.no             the part's number, from 0
//   split.count          how many parts there are; 0 and 1: the file is whole
//   split.tensors.count  tensors of the whole model
//
// They are read as the file that they were cut from: the first part's key-values less these, then
// every tensor, part after part, each at a multiple of the alignment. That is how all writers lay
// a file out, so that the parts have the content hash of the original: both are one model.

namespace troupe::model {

// Parts that the model of this header has; 1 when it is whole.
//   Errors: kBadData when split.count is no number.
Result<std::uint64_t> gguf_parts(const GgufHeader& header);

// The model of which `part` is one of several.
//   Errors: kNotFound naming a part that is not beside it; kBadData naming the file for parts that
//   are damaged, misnamed, repeated, of another model, or that lack a tensor.
Result<std::unique_ptr<WholeModel>> open_gguf_split(const std::filesystem::path& part);

// By the name of a file alone: how many parts its model has; 1 when it is whole.
std::uint64_t gguf_parts(const std::string& file_name);
// By its name alone: the parts of the model that are there, or `path` itself.
std::vector<std::filesystem::path> gguf_files(const std::filesystem::path& path);

}  // namespace troupe::model
