#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/model/chat/chat_source.h>
#include <troupe/model/tokenizer/around.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/tokenizer/pre_tokenizer_families.h>
#include <troupe/model/tokenizer/vocabulary.h>
#include <troupe/model/training/gguf_tokenizer_text.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

// These objects are sorted by their keys: an ordered_json would search all of its keys for each new
// one, which takes seconds for a vocabulary.
using nlohmann::json;

// Says whether a number of tokenizer.ggml.token_type is this type.
bool is_type(std::int64_t number, TokenType type) {
  return number == static_cast<std::int64_t>(type);
}

const std::vector<std::string>& strings_of(const GgufHeader& header, std::string_view key) {
  return std::get<std::vector<std::string>>(header.metadata.find(key)->second);
}

json pre_tokenizer_json(const PreTokenizerPatterns& patterns) {
  auto steps = json::array();
  for (const std::string_view pattern : patterns.patterns)
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", pattern}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

// Returns the merges whose parts and result are tokens, because others can never apply.
json merges_json(const std::vector<std::string>& merges, const json& vocabulary) {
  auto out = json::array();
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ', 1);
    const std::string left = merge.substr(0, space), right = merge.substr(space + 1);
    if (vocabulary.contains(left) && vocabulary.contains(right) &&
        vocabulary.contains(left + right))
      out.push_back({left, right});
  }
  return out;
}

json post_processor_json(const TokensAround& around, const std::vector<std::string>& tokens) {
  if (around.before.empty() && around.after.empty()) return nullptr;
  auto single = json::array();
  json special = json::object();
  const auto put = [&](TokenId id) {
    const std::string& name = tokens[static_cast<std::size_t>(id)];
    single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
    special[name] = {{"id", name}, {"ids", {id}}, {"tokens", {name}}};
  };
  std::for_each(around.before.begin(), around.before.end(), put);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  std::for_each(around.after.begin(), around.after.end(), put);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", single},
          {"special_tokens", special}};
}

}  // namespace

Result<TokenizerTexts> gguf_tokenizer_texts(const GgufHeader& header) {
  TROUPE_ASSIGN_OR_RETURN(const auto tokenizer, open_tokenizer(header, 0));  // checks everything
  TROUPE_ASSIGN_OR_RETURN(const std::string kind, header.string("tokenizer.ggml.model"));
  if (kind != "gpt2")
    return Status(Code::kFailedPrecondition,
                  "the model's tokenizer is of the kind " + in_quotes(kind) +
                      ", which cannot be written as tokenizer.json yet; train the model's Hugging "
                      "Face folder instead of its GGUF file");
  TROUPE_ASSIGN_OR_RETURN(const std::string pre, header.string("tokenizer.ggml.pre"));
  TROUPE_ASSIGN_OR_RETURN(const PreTokenizerPatterns patterns, pre_tokenizer_patterns(pre));
  const std::vector<std::string>& tokens = strings_of(header, "tokenizer.ggml.tokens");
  std::vector<std::int64_t> types(tokens.size(), static_cast<std::int64_t>(TokenType::kNormal));
  if (header.metadata.contains("tokenizer.ggml.token_type"))
    types = std::get<std::vector<std::int64_t>>(
        header.metadata.find("tokenizer.ggml.token_type")->second);
  json vocabulary = json::object();
  auto added = json::array();
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    vocabulary.emplace(tokens[id], id);
    if (is_type(types[id], TokenType::kNormal) || is_type(types[id], TokenType::kUnused)) continue;
    added.push_back({{"id", id},
                     {"content", tokens[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", !is_type(types[id], TokenType::kUserDefined)}});
  }
  TROUPE_ASSIGN_OR_RETURN(const TokensAround around, tokens_around(*tokenizer));
  const json model = {
      {"type", "BPE"},
      {"dropout", nullptr},
      {"unk_token", nullptr},
      {"continuing_subword_prefix", nullptr},
      {"end_of_word_suffix", nullptr},
      {"fuse_unk", false},
      {"byte_fallback", false},
      {"ignore_merges", patterns.whole_words},
      {"vocab", vocabulary},
      {"merges", merges_json(strings_of(header, "tokenizer.ggml.merges"), vocabulary)}};
  const json file = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", added},
                     {"normalizer", patterns.composes ? json{{"type", "NFC"}} : json(nullptr)},
                     {"pre_tokenizer", pre_tokenizer_json(patterns)},
                     {"post_processor", post_processor_json(around, tokens)},
                     {"decoder",
                      {{"type", "ByteLevel"},
                       {"add_prefix_space", true},
                       {"trim_offsets", true},
                       {"use_regex", true}}},
                     {"model", model}};
  json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false}};
  const auto name = [&](const char* field, TokenId id) {
    if (id >= 0) config[field] = tokens[static_cast<std::size_t>(id)];
  };
  name("bos_token", tokenizer->bos());
  name("eos_token", tokenizer->eos());
  name("pad_token", tokenizer->pad());
  TROUPE_ASSIGN_OR_RETURN(const std::string chat, chat_source(header, /*with_tools=*/false));
  if (!chat.empty()) config["chat_template"] = chat;
  const json generation = {{"eos_token_id", tokenizer->end_tokens()}};
  return TokenizerTexts{file.dump() + "\n", config.dump(2) + "\n", generation.dump(2) + "\n"};
}

}  // namespace troupe::model
