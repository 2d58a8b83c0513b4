#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <troupe/model/training/parameters.h>

// Writes a model as a GGUF file that other programs can read, including metadata, tokenizer, chat
// template and ends of generation.

namespace troupe::model {

// Returns the metadata of the exported file, made from the model's header: that of a GGUF file, or
// one made of a folder's files. `type` is the format of the matrices. `labels` are the names of a
// classifier's labels; if there are none, those of the header count.
//   Errors: as add_gguf_tokenizer; kFailedPrecondition if GGUF cannot express the model.
Result<GgufMetadata> export_metadata(const GgufHeader& header, const ModelConfig& config,
                                     quant::Type type, std::vector<std::string> labels = {});

// Returns what divides each rotary frequency if config.json scales them in the manner of llama3,
// else nothing. In a GGUF file, these are the tensor rope_freqs.weight.
std::vector<float> llama3_rope_factors(const ModelConfig& config);

// Writes the file, its vectors in F32 and its matrices in `type` (quant::can_encode). A matrix
// whose columns the format does not divide becomes F16. Returns the SHA-256 of the file.
//   Errors: kInvalidArgument naming a tensor with a value that does not fit the format; what the
//   system says.
Result<std::string> write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                               const ModelConfig& config, const Parameters& parameters,
                               quant::Type type);

}  // namespace troupe::model
