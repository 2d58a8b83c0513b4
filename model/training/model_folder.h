#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/training/parameters.h>

// Saves a trained model as a Hugging Face folder: config.json, model.safetensors and the
// tokenizer's files. `troupe run` and `troupe classify` take the folder as it is, and so does
// transformers.

namespace troupe::model {

// The texts of a folder: all of its files but the weights.
struct FolderTexts {
  std::vector<std::pair<std::string, std::string>> files;  // path in the folder, and content
};

// Makes the texts of the folder before training begins, so that a model that cannot be saved is
// refused at once.
//   Errors: as hf_config_text and gguf_tokenizer_texts.
Result<FolderTexts> folder_texts(const GgufHeader& header, const ModelConfig& config,
                                 const std::vector<std::string>& labels);

// Makes the texts of a folder whose weights have the dtype `dtype` ("BF16") and are otherwise those
// of the model. Nothing else in a folder's config.json changes, so any family can be written.
//   Errors: as folder_texts.
Result<FolderTexts> converted_texts(const GgufHeader& header, const ModelConfig& config,
                                    std::string_view dtype);
// Adds the files that tell sentence-transformers that a text's embedding is the normed mean of its
// rows, and that longer texts are cut to `length_max` tokens.
void add_embedding_texts(const ModelConfig& config, std::size_t length_max, FolderTexts* texts);

// Makes the folder and writes the texts.
//   Errors: what the system says.
Status write_folder_texts(const std::filesystem::path& folder, const FolderTexts& texts);

// Writes the texts and the weights. model.safetensors comes last, so that a folder that has one is
// whole. Returns the SHA-256 of model.safetensors.
//   Errors: what the system says.
Result<std::string> write_model_folder(const std::filesystem::path& folder,
                                       const FolderTexts& texts, const ModelConfig& config,
                                       const Parameters& parameters);

}  // namespace troupe::model
