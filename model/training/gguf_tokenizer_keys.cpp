#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/model/chat/chat_source.h>
#include <troupe/model/files/header_keys.h>
#include <troupe/model/tokenizer/around.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/tokenizer/pre_tokenizer_families.h>
#include <troupe/model/tokenizer/vocabulary.h>
#include <troupe/model/training/gguf_tokenizer_keys.h>
#include <troupe/model/training/text_limits.h>
#include <troupe/runtime/text/bounded_json.h>

namespace troupe::model {
namespace {

using nlohmann::json;

// Returns the number of a type in tokenizer.ggml.token_type.
constexpr std::int64_t number_of(TokenType type) { return static_cast<std::int64_t>(type); }

Status cannot(const std::string& what) {
  return Status(Code::kFailedPrecondition,
                "the folder's tokenizer.json cannot be written as GGUF: " + what +
                    "; export a Hugging Face folder instead");
}

std::string type_of(const json& step) {
  return step.is_object() && step.contains("type") && step["type"].is_string()
             ? step["type"].get<std::string>()
             : "";
}

// Returns the pattern of GPT-2, for which a ByteLevel step with use_regex stands.
std::string gpt2_pattern() {
  return std::string(pre_tokenizer_patterns("gpt-2")->patterns.front());
}

// Adds the patterns of a pre-tokenizer's steps, or says which step has no pattern.
Status add_patterns(const json& step, std::vector<std::string>* patterns) {
  const std::string type = type_of(step);
  if (type == "Sequence") {
    for (const json& one : step.at("pretokenizers"))
      TROUPE_RETURN_IF_ERROR(add_patterns(one, patterns));
    return Status::ok();
  }
  if (type == "ByteLevel") {
    if (step.value("add_prefix_space", false)) return cannot("it adds a space before a text");
    if (step.value("use_regex", true)) patterns->push_back(gpt2_pattern());
    return Status::ok();
  }
  if (type == "Digits" && step.value("individual_digits", false)) {
    patterns->push_back("\\p{N}");
    return Status::ok();
  }
  const bool is_split = type == "Split" && step.value("behavior", "") == "Isolated" &&
                        !step.value("invert", false) && step.contains("pattern") &&
                        step["pattern"].contains("Regex");
  if (!is_split) return cannot("GGUF has no name for its pre-tokenizer's step " + type);
  patterns->push_back(step["pattern"]["Regex"].get<std::string>());
  return Status::ok();
}

Result<std::string> family_of(const json& file) {
  std::vector<std::string> patterns;
  if (!file.contains("pre_tokenizer") || !file["pre_tokenizer"].is_object())
    return cannot("it has no pre-tokenizer");
  TROUPE_RETURN_IF_ERROR(add_patterns(file["pre_tokenizer"], &patterns));
  PreTokenizerPatterns wanted;
  for (const std::string& pattern : patterns) wanted.patterns.push_back(pattern);
  wanted.whole_words = file["model"].value("ignore_merges", false);
  const json normalizer = file.value("normalizer", json());
  wanted.composes = type_of(normalizer) == "NFC";
  if (!normalizer.is_null() && !wanted.composes)
    return cannot("GGUF has no name for its normalizer " + type_of(normalizer));
  const std::string_view name = pre_tokenizer_name(wanted);
  if (name.empty()) return cannot("GGUF has no name for its pre-tokenizer's patterns");
  return std::string(name);
}

std::vector<std::string> merges_of(const json& model) {
  std::vector<std::string> merges;
  for (const json& merge : model.at("merges"))
    merges.push_back(merge.is_string()
                         ? merge.get<std::string>()
                         : merge.at(0).get<std::string>() + " " + merge.at(1).get<std::string>());
  return merges;
}

}  // namespace

Status add_gguf_tokens(const json& file, std::size_t vocabulary, GgufMetadata* out) {
  std::vector<std::string> tokens(vocabulary);
  std::vector<std::int64_t> types(vocabulary, number_of(TokenType::kUnused));
  const auto put = [&](std::uint64_t id, std::string text, TokenType type) {
    if (id >= vocabulary) return false;
    tokens[id] = std::move(text);
    types[id] = number_of(type);
    return true;
  };
  bool fits = true;
  for (const auto& [text, id] : file["model"].at("vocab").items())
    fits &= put(id.get<std::uint64_t>(), text, TokenType::kNormal);
  for (const json& added : file.value("added_tokens", json::array()))
    fits &= put(added.at("id").get<std::uint64_t>(), added.at("content").get<std::string>(),
                added.value("special", false) ? TokenType::kControl : TokenType::kUserDefined);
  if (!fits) return cannot("it has more tokens than the embedding has rows");
  for (std::size_t id = 0; id < vocabulary; ++id)
    if (types[id] == number_of(TokenType::kUnused)) tokens[id] = "[PAD" + std::to_string(id) + "]";
  (*out)["tokenizer.ggml.tokens"] = std::move(tokens);
  (*out)["tokenizer.ggml.token_type"] = std::move(types);
  return Status::ok();
}

Status add_gguf_bpe(const json& file, std::size_t vocabulary, GgufMetadata* out) {
  if (!file.contains("model") || type_of(file["model"]) != "BPE" ||
      file["model"].value("byte_fallback", false))
    return cannot("it is not a byte-level BPE");
  TROUPE_ASSIGN_OR_RETURN(const std::string family, family_of(file));
  (*out)["tokenizer.ggml.model"] = std::string("gpt2");
  (*out)["tokenizer.ggml.pre"] = family;
  (*out)["tokenizer.ggml.merges"] = merges_of(file["model"]);
  return add_gguf_tokens(file, vocabulary, out);
}

namespace {

// Adds the ids of the marks. GGUF can only say that BOS goes before a text and EOS after it.
Status add_marks(const Tokenizer& tokenizer, GgufMetadata* out) {
  const auto put = [&](const char* key, TokenId id) {
    if (id >= 0) (*out)[key] = static_cast<std::uint32_t>(id);
  };
  put("tokenizer.ggml.bos_token_id", tokenizer.bos());
  put("tokenizer.ggml.eos_token_id", tokenizer.eos());
  put("tokenizer.ggml.padding_token_id", tokenizer.pad());
  for (const TokenId end : tokenizer.end_tokens())
    if (end != tokenizer.eos()) put("tokenizer.ggml.eot_token_id", end);
  TROUPE_ASSIGN_OR_RETURN(const TokensAround around, tokens_around(tokenizer));
  const auto only = [](const std::vector<TokenId>& tokens, TokenId id) {
    return id >= 0 && tokens == std::vector<TokenId>{id};
  };
  const bool adds_bos = only(around.before, tokenizer.bos());
  const bool adds_eos = only(around.after, tokenizer.eos());
  if (adds_bos != !around.before.empty() || adds_eos != !around.after.empty())
    return cannot("it puts other tokens around a text than the model's BOS and EOS");
  (*out)["tokenizer.ggml.add_bos_token"] = adds_bos;
  if (adds_eos) (*out)["tokenizer.ggml.add_eos_token"] = true;
  return Status::ok();
}

Status add_all(const GgufHeader& folder, const json& file, std::size_t vocabulary,
               GgufMetadata* out) {
  TROUPE_RETURN_IF_ERROR(add_gguf_bpe(file, vocabulary, out));
  TROUPE_ASSIGN_OR_RETURN(const auto tokenizer, open_tokenizer(folder, vocabulary));
  TROUPE_RETURN_IF_ERROR(add_marks(*tokenizer, out));
  TROUPE_ASSIGN_OR_RETURN(const std::string chat, chat_source(folder, /*with_tools=*/false));
  if (!chat.empty()) (*out)["tokenizer.chat_template"] = chat;
  return Status::ok();
}

}  // namespace

Status add_gguf_tokenizer(const GgufHeader& folder, std::size_t vocabulary, GgufMetadata* out) {
  if (!has_tokenizer(folder)) return Status::ok();
  if (!folder.metadata.contains(header_keys::kTokenizerJson))
    return cannot("there is none, only other tokenizer files");
  TROUPE_ASSIGN_OR_RETURN(const std::string text, folder.string(header_keys::kTokenizerJson));
  TROUPE_ASSIGN_OR_RETURN(const json file, parse_json(text, "tokenizer.json", kTextLimits));
  try {
    return add_all(folder, file, vocabulary, out);
  } catch (const json::exception& error) {
    return cannot(error.what());
  }
}

}  // namespace troupe::model
