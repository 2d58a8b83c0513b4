#pragma once

#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/source/tensor_source.h>

// A Hugging Face folder (config.json, safetensors) read as if it were a GGUF file. A header is made
// from config.json: it has the tensors that the family knows, under their GGUF names and in the
// order of these names. The tensors' bytes stay as the folder's files have them. Where they differ
// from what the family's GGUF files have, the header says so in keys of our own
// (files/header_keys.h).

namespace troupe::model {

// A file of a folder whose text travels in the header, and the key under which it does. A pulled
// folder is flat: the files of inner folders lie beside the others there.
struct FolderText {
  std::string_view file, key;
};
inline constexpr FolderText kFolderTexts[] = {
    {"config.json", header_keys::kConfigJson},
    {"generation_config.json", header_keys::kGenerationConfigJson},
    {"tokenizer.json", header_keys::kTokenizerJson},
    {"tokenizer_config.json", header_keys::kTokenizerConfigJson},
    {"special_tokens_map.json", header_keys::kSpecialTokensMapJson},
    {"added_tokens.json", header_keys::kAddedTokensJson},
    {"chat_template.jinja", header_keys::kChatTemplateJinja},
    {"additional_chat_templates/tool_use.jinja", header_keys::kToolTemplateJinja},
    {"tool_use.jinja", header_keys::kToolTemplateJinja},
    {"additional_chat_templates/default.jinja", header_keys::kDefaultTemplateJinja},
    {"default.jinja", header_keys::kDefaultTemplateJinja},
    {"chat_template.json", header_keys::kChatTemplateJson},
    {"vocab.txt", header_keys::kVocabTxt},
};

// Opens the model in `folder`.
//   Errors: kNotFound if there is no config.json or no weights; kBadData naming file, field and
//   value.
Result<std::unique_ptr<WholeModel>> open_hf_folder(const std::filesystem::path& folder);
// Returns every file of the folder that the model depends on.
Result<std::vector<std::filesystem::path>> hf_folder_files(const std::filesystem::path& folder);

}  // namespace troupe::model
