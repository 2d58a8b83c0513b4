#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include <troupe/model/convert/recipe.h>
#include <troupe/model/source/tensor_source.h>
#include <troupe/runtime/machine/thread_pool.h>

// Writes a model in another form: as one GGUF file or as a Hugging Face folder, in other formats.
// Tensors are read and written a few rows at a time. The new file has its name only when it is
// whole and on the disk. If anything in the new file would differ from what the model states, the
// conversion is refused.

namespace troupe::model {

struct Converted {
  std::string sha256;  // of the GGUF file or of model.safetensors
  std::uint64_t bytes = 0;
  std::map<std::string, std::size_t> formats;  // number of tensors by the format's name
  // True if a tensor that was quantized already was quantized in another format, which adds the
  // errors of both.
  bool requantized = false;
};

// Writes a GGUF file. A model that is a GGUF file keeps its keys and all its tensors.
//   Errors: kFailedPrecondition if GGUF cannot express the model; kInvalidArgument naming a tensor
//   with a value that does not fit its format; what the system says.
Result<Converted> convert_to_gguf(const WholeModel& source, const ModelConfig& config,
                                  const Recipe& recipe, const std::filesystem::path& path,
                                  ThreadPool& pool);

// Writes config.json, the tokenizer's files and model.safetensors, whose tensors are F32, F16 or
// BF16.
//   Errors: as convert_to_gguf.
Result<Converted> convert_to_folder(const WholeModel& source, const ModelConfig& config,
                                    quant::Type type, const std::filesystem::path& folder);

}  // namespace troupe::model
