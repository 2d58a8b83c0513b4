#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <troupe/model/source/tensor_source.h>

// Opens a model of any form that this version reads: a GGUF file, a GGUF model in several parts
// (gguf_split.h), a folder with config.json and safetensors (hf_folder.h), or one of these with an
// adapter (adapted_model.h).

namespace troupe::model {

// Opens a GGUF file, or the model that a part belongs to. The files are memory-mapped and checked.
//   Errors: as open_model.
Result<std::unique_ptr<TensorSource>> open_gguf(const std::string& path);

// Opens the model at `path`: a GGUF file, any part of a model in several, or a folder.
//   Errors: kNotFound, kBadData naming file, field and value.
Result<std::unique_ptr<WholeModel>> open_model(const std::string& path);

// Returns the files whose content the model at `path` depends on.
//   Errors: as open_model.
Result<std::vector<std::filesystem::path>> model_files(const std::filesystem::path& path);

}  // namespace troupe::model
