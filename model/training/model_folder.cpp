#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <troupe/model/files/safetensors_writer.h>
#include <troupe/model/source/hf_folder.h>
#include <troupe/model/training/gguf_tokenizer_text.h>
#include <troupe/model/training/hf_config_text.h>
#include <troupe/model/training/hf_tensors.h>
#include <troupe/model/training/model_folder.h>
#include <troupe/runtime/file.h>

namespace troupe::model {

namespace {

// Adds the texts other than config.json.
Status add_tokenizer_texts(const GgufHeader& header, FolderTexts* texts) {
  const bool is_folder = header.metadata.contains(header_keys::kConfigJson);
  if (!is_folder && header.metadata.contains("tokenizer.ggml.model")) {
    TROUPE_ASSIGN_OR_RETURN(TokenizerTexts made, gguf_tokenizer_texts(header));
    texts->files.emplace_back("tokenizer.json", std::move(made.tokenizer_json));
    texts->files.emplace_back("tokenizer_config.json", std::move(made.tokenizer_config_json));
    texts->files.emplace_back("generation_config.json", std::move(made.generation_config_json));
  }
  for (const FolderText& one : kFolderTexts) {
    if (one.key == header_keys::kConfigJson || !header.metadata.contains(one.key)) continue;
    TROUPE_ASSIGN_OR_RETURN(std::string text, header.string(one.key));
    texts->files.emplace_back(one.file, std::move(text));
  }
  return Status::ok();
}

}  // namespace

Result<FolderTexts> folder_texts(const GgufHeader& header, const ModelConfig& config,
                                 const std::vector<std::string>& labels) {
  FolderTexts texts;
  TROUPE_ASSIGN_OR_RETURN(std::string config_text, hf_config_text(header, config, labels));
  texts.files.emplace_back("config.json", std::move(config_text));
  TROUPE_RETURN_IF_ERROR(add_tokenizer_texts(header, &texts));
  return texts;
}

Result<FolderTexts> converted_texts(const GgufHeader& header, const ModelConfig& config,
                                    std::string_view dtype) {
  FolderTexts texts;
  TROUPE_ASSIGN_OR_RETURN(std::string config_text, converted_config_text(header, config, dtype));
  texts.files.emplace_back("config.json", std::move(config_text));
  TROUPE_RETURN_IF_ERROR(add_tokenizer_texts(header, &texts));
  return texts;
}

void add_embedding_texts(const ModelConfig& config, std::size_t length_max, FolderTexts* texts) {
  using nlohmann::ordered_json;
  const auto add = [&](const char* name, const ordered_json& content) {
    texts->files.emplace_back(name, content.dump(2) + "\n");
  };
  auto modules = ordered_json::array();
  const std::pair<const char*, const char*> kinds[] = {
      {"", "Transformer"}, {"1_Pooling", "Pooling"}, {"2_Normalize", "Normalize"}};
  for (const auto& [path, kind] : kinds)
    modules.push_back({{"idx", modules.size()},
                       {"name", std::to_string(modules.size())},
                       {"path", path},
                       {"type", "sentence_transformers.models." + std::string(kind)}});
  add("modules.json", modules);
  add("sentence_bert_config.json", {{"max_seq_length", length_max}, {"do_lower_case", false}});
  add("1_Pooling/config.json", {{"word_embedding_dimension", config.channels},
                                {"pooling_mode_cls_token", false},
                                {"pooling_mode_mean_tokens", true}});
}

Status write_folder_texts(const std::filesystem::path& folder, const FolderTexts& texts) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    return Status(Code::kUnavailable,
                  "cannot make the folder " + folder.string() + ": " + error.message());
  for (const auto& [name, text] : texts.files) {
    std::filesystem::create_directories((folder / name).parent_path(), error);
    TROUPE_RETURN_IF_ERROR(write_file_atomically(folder / name, text));
  }
  return Status::ok();
}

Result<std::string> write_model_folder(const std::filesystem::path& folder,
                                       const FolderTexts& texts, const ModelConfig& config,
                                       const Parameters& parameters) {
  TROUPE_RETURN_IF_ERROR(write_folder_texts(folder, texts));
  const std::vector<HfTensor> tensors = hf_tensors(config, parameters);
  std::vector<TensorToWrite> heads;
  for (const HfTensor& tensor : tensors) heads.push_back({tensor.name, tensor.shape});
  return write_safetensors(
      folder / "model.safetensors", heads, [&](std::size_t index) -> Result<std::vector<float>> {
        return hf_values(tensors[index],
                         [](const Parameter& parameter) { return parameter.stored_values(); });
      });
}

}  // namespace troupe::model
