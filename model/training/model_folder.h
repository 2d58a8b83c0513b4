#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <troupe/model/training/parameters.h>

// Saves a trained model as a Hugging Face folder: config.json, model.safetensors and the
// tokenizer's files. `troupe run` and `troupe classify` take the folder as it is, and so does
// transformers.

namespace troupe::model {

// The texts of the folder, made before training begins, so that a model that cannot be saved is
// refused at once.
struct FolderTexts {
  std::vector<std::pair<std::string, std::string>> files;  // name and content
};

// Errors: as hf_config_text and gguf_tokenizer_texts.
Result<FolderTexts> folder_texts(const GgufHeader& header, const ModelConfig& config,
                                 const std::vector<std::string>& labels);

// Writes the texts and the weights. model.safetensors comes last, so that a folder that has one is
// whole. Returns the SHA-256 of model.safetensors.
//   Errors: what the system says.
Result<std::string> write_model_folder(const std::filesystem::path& folder,
                                       const FolderTexts& texts, const ModelConfig& config,
                                       const Parameters& parameters);

}  // namespace troupe::model
