#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include <troupe/model/source/tensor_source.h>

// A Hugging Face folder (config.json, safetensors) read as if it were a GGUF file: a header is made
// of config.json, with the tensors that the family knows under their GGUF names and in the order of
// these; their bytes stay what the folder's files have. What the file of a family in GGUF has
// otherwise, the header says in keys of its own:
//
//   troupe.rope.interleaved        false: the rotated pairs of q and k are half a head apart
//   troupe.transposed              sorted names of matrices that are stored (inputs, outputs)
//   troupe.tied_embedding          whether the output matrix is the embedding
//   troupe.sliding_window_begin    the first layer with a window
//   troupe.end_token_ids           where generation ends (id_tokenizer.h)
//   troupe.config_json ...         texts of the folder, see kFolderTexts

namespace troupe::model {

// Files of a folder whose text travels in the header, so that whoever has the header can make a
// tokenizer and a chat template.
struct FolderText {
  std::string_view file, key;
};
inline constexpr FolderText kFolderTexts[] = {
    {"config.json", "troupe.config_json"},
    {"generation_config.json", "troupe.generation_config_json"},
    {"tokenizer.json", "troupe.tokenizer_json"},
    {"tokenizer_config.json", "troupe.tokenizer_config_json"},
    {"special_tokens_map.json", "troupe.special_tokens_map_json"},
    {"chat_template.jinja", "troupe.chat_template_jinja"},
    {"chat_template.json", "troupe.chat_template_json"},
    {"vocab.txt", "troupe.vocab_txt"},
};

// Errors: kNotFound without config.json or weights; kBadData naming file, field and value.
Result<std::unique_ptr<WholeModel>> open_hf_folder(const std::filesystem::path& folder);
// Every file of it that the model depends on.
Result<std::vector<std::filesystem::path>> hf_folder_files(const std::filesystem::path& folder);

}  // namespace troupe::model
