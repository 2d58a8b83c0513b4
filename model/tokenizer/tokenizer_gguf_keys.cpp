#include <algorithm>
#include <cstdint>
#include <optional>
#include <type_traits>

#include <troupe/model/tokenizer/tokenizer_gguf_keys.h>

namespace troupe::model {
namespace {

// Fills `types`, which has one entry a token, if the header says what they are.
Status load_types(const GgufHeader& header, std::vector<TokenType>* types) {
  if (!header.metadata.contains("tokenizer.ggml.token_type")) return Status::ok();
  TROUPE_ASSIGN_OR_RETURN(const auto* numbers, token_array<std::vector<std::int64_t>>(
                                                   header, "tokenizer.ggml.token_type"));
  if (numbers->size() != types->size()) {
    return bad_token_key("tokenizer.ggml.token_type has " + std::to_string(numbers->size()) +
                         " entries, tokenizer.ggml.tokens " + std::to_string(types->size()));
  }
  for (std::size_t i = 0; i < numbers->size(); ++i) {
    const std::int64_t number = (*numbers)[i];
    if (number < 0 || number > 6) {
      return bad_token_key("tokenizer.ggml.token_type of token " + std::to_string(i) + " is " +
                           std::to_string(number) + ", expected 0 to 6");
    }
    // 0 means "undefined", which other programs treat as plain text.
    (*types)[i] = number == 0 ? TokenType::kNormal : static_cast<TokenType>(number);
  }
  return Status::ok();
}

}  // namespace

Status bad_token_key(const std::string& sentence) {
  return Status(Code::kBadData, sentence + "; take another file of the model");
}

bool is_empty_token_array(const GgufHeader& header, std::string_view key) {
  const auto entry = header.metadata.find(key);
  if (entry == header.metadata.end()) return true;
  const auto* strings = std::get_if<std::vector<std::string>>(&entry->second);
  const auto* integers = std::get_if<std::vector<std::int64_t>>(&entry->second);
  const auto* reals = std::get_if<std::vector<double>>(&entry->second);
  return (strings != nullptr && strings->empty()) || (integers != nullptr && integers->empty()) ||
         (reals != nullptr && reals->empty());
}

Result<GgufTokens> load_token_texts(const GgufHeader& header) {
  GgufTokens tokens;
  TROUPE_ASSIGN_OR_RETURN(tokens.texts,
                          token_array<std::vector<std::string>>(header, "tokenizer.ggml.tokens"));
  const std::size_t count = tokens.texts->size();
  if (count == 0 || count > Vocabulary::kTokensMax) {
    return bad_token_key("tokenizer.ggml.tokens has " + std::to_string(count) +
                         " tokens, expected 1 to " + std::to_string(Vocabulary::kTokensMax));
  }
  tokens.types.assign(count, TokenType::kNormal);
  TROUPE_RETURN_IF_ERROR(load_types(header, &tokens.types));
  // Some converters give the end marks of a chat the type of plain tokens. Then a template could
  // not write them, and an answer would continue after them.
  for (std::size_t i = 0; i < count; ++i) {
    if (tokens.types[i] != TokenType::kByte && is_end_markup((*tokens.texts)[i])) {
      tokens.types[i] = TokenType::kControl;
    }
  }
  return tokens;
}

Result<std::vector<double>> load_token_scores(const GgufHeader& header, std::size_t tokens) {
  constexpr std::string_view kKey = "tokenizer.ggml.scores";
  if (is_empty_token_array(header, kKey)) return std::vector<double>(tokens, 0.0);
  TROUPE_ASSIGN_OR_RETURN(const auto* scores, token_array<std::vector<double>>(header, kKey));
  if (scores->size() != tokens) {
    return bad_token_key("tokenizer.ggml.scores has " + std::to_string(scores->size()) +
                         " entries, tokenizer.ggml.tokens " + std::to_string(tokens));
  }
  const auto nan = std::find_if(scores->begin(), scores->end(), [](double x) { return x != x; });
  if (nan != scores->end()) {
    return bad_token_key("tokenizer.ggml.scores of token " + std::to_string(nan - scores->begin()) +
                         " is not a number");
  }
  return *scores;
}

Status load_token_id(const GgufHeader& header, std::string_view key, std::size_t tokens,
                     TokenId* id) {
  const auto entry = header.metadata.find(key);
  if (entry == header.metadata.end()) return Status::ok();
  // A negative value of any type becomes a large one here.
  const std::optional<std::uint64_t> value = std::visit(
      [](const auto& given) -> std::optional<std::uint64_t> {
        using Given = std::decay_t<decltype(given)>;
        if constexpr (std::is_integral_v<Given> && !std::is_same_v<Given, bool>) {
          return static_cast<std::uint64_t>(given);
        }
        return std::nullopt;
      },
      entry->second);
  if (!value)
    return bad_token_key("the metadata value of " + in_quotes(key) + " is not an integer");
  if (*value < tokens) *id = static_cast<TokenId>(*value);
  return Status::ok();
}

Status load_token_flag(const GgufHeader& header, std::string_view key, bool* flag) {
  const auto entry = header.metadata.find(key);
  if (entry == header.metadata.end()) return Status::ok();
  if (const bool* value = std::get_if<bool>(&entry->second)) {
    *flag = *value;
    return Status::ok();
  }
  const Result<std::uint64_t> number = header.u64(key);  // some converters write 0 and 1
  if (!number.is_ok() || *number > 1) {
    return bad_token_key("the metadata value of " + in_quotes(key) +
                         " is neither a bool nor 0 or 1");
  }
  *flag = *number == 1;
  return Status::ok();
}

Status load_special_tokens(const GgufHeader& header, bool add_bos, bool add_eos,
                           TokenizerParts* parts) {
  const std::size_t count = parts->vocabulary.size();
  TokenId eot = -1, eom = -1;
  TROUPE_RETURN_IF_ERROR(load_token_id(header, "tokenizer.ggml.bos_token_id", count, &parts->bos));
  TROUPE_RETURN_IF_ERROR(load_token_id(header, "tokenizer.ggml.eos_token_id", count, &parts->eos));
  TROUPE_RETURN_IF_ERROR(
      load_token_id(header, "tokenizer.ggml.padding_token_id", count, &parts->pad));
  TROUPE_RETURN_IF_ERROR(load_token_id(header, "tokenizer.ggml.eot_token_id", count, &eot));
  TROUPE_RETURN_IF_ERROR(load_token_id(header, "tokenizer.ggml.eom_token_id", count, &eom));
  TROUPE_RETURN_IF_ERROR(load_token_flag(header, "tokenizer.ggml.add_bos_token", &add_bos));
  TROUPE_RETURN_IF_ERROR(load_token_flag(header, "tokenizer.ggml.add_eos_token", &add_eos));
  if (add_bos && parts->bos >= 0) parts->before = {parts->bos};
  if (add_eos && parts->eos >= 0) parts->after = {parts->eos};
  parts->ends = {eot, eom};
  return Status::ok();
}

bool is_markup(TokenType type) {
  return type == TokenType::kControl || type == TokenType::kUnknown;
}

}  // namespace troupe::model
