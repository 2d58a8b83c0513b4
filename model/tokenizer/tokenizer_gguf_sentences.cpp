#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include <troupe/model/tokenizer/bpe_model.h>
#include <troupe/model/tokenizer/charsmap.h>
#include <troupe/model/tokenizer/normalizer.h>
#include <troupe/model/tokenizer/tokenizer_gguf_keys.h>
#include <troupe/model/tokenizer/tokenizer_gguf_sentences.h>
#include <troupe/model/tokenizer/unigram.h>

namespace troupe::model {
namespace {

// Adds a token to the vocabulary, and to the added tokens if it is markup.
Status add_piece(const GgufTokens& tokens, TokenId id, TokenizerParts* parts) {
  const auto index = static_cast<std::size_t>(id);
  const std::string& text = (*tokens.texts)[index];
  const TokenType type = tokens.types[index];
  std::string piece = text;
  if (type == TokenType::kByte) {
    const int byte = fallback_byte(text);
    if (byte < 0) {
      return bad_token_key("tokenizer.ggml.tokens has the byte token " + in_quotes(text) +
                           " as token " + std::to_string(id) + ", expected one such as <0x0A>");
    }
    piece = std::string(1, static_cast<char>(byte));
  } else if (is_markup(type)) {
    parts->added.add({text, id, /*special=*/true});
  } else {
    TROUPE_RETURN_IF_ERROR(replace_normalizer(std::string(kSpaceMark), " ")(&piece));
  }
  parts->vocabulary.add(type, piece);
  return Status::ok();
}

// Returns the header's map of characters, if it has one.
Status add_charsmap(const GgufHeader& header, AddedTokens kept, TokenizerParts* parts) {
  constexpr std::string_view kKey = "tokenizer.ggml.precompiled_charsmap";
  if (is_empty_token_array(header, kKey)) return Status::ok();
  TROUPE_ASSIGN_OR_RETURN(const auto* values, token_array<std::vector<std::int64_t>>(header, kKey));
  std::string bytes;
  bytes.reserve(values->size());
  for (const std::int64_t value : *values) {
    if (value < -128 || value > 255)
      return bad_token_key("the metadata value of " + in_quotes(kKey) + " has the element " +
                           std::to_string(value) + ", which is not a byte");
    bytes += static_cast<char>(value);
  }
  Result<Charsmap> map = Charsmap::parse(bytes);
  if (!map.is_ok()) return bad_token_key(map.message());
  parts->normalizers.push_back(charsmap_normalizer(std::move(*map), std::move(kept)));
  return Status::ok();
}

// Makes the scores of a unigram model as SentencePiece computes them, in f32.
class UnigramScores {
 public:
  UnigramScores(const GgufTokens& tokens, const std::vector<double>& scores)
      : tokens_(tokens), scores_(scores) {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (tokens.types[i] != TokenType::kNormal) continue;
      least_ = std::min(least_, static_cast<float>(scores[i]));
      most_ = std::max(most_, static_cast<float>(scores[i]));
    }
  }
  double unknown() const {
    constexpr float kUnknownPenalty = 10.0f;
    return static_cast<double>(least_ - kUnknownPenalty);
  }
  // Returns the score of a token. A user-defined token is nearly always worth more than the tokens
  // that it consists of.
  double of(std::size_t id) const {
    if (tokens_.types[id] != TokenType::kUserDefined)
      return static_cast<double>(static_cast<float>(scores_[id]));
    const auto bytes = static_cast<float>((*tokens_.texts)[id].size());
    return static_cast<double>(bytes * most_) - 0.1;
  }

 private:
  const GgufTokens& tokens_;
  const std::vector<double>& scores_;
  // SentencePiece begins in this way: its largest score is the smallest positive float if all
  // scores are negative.
  float least_ = std::numeric_limits<float>::max(), most_ = std::numeric_limits<float>::min();
};

}  // namespace

// tokenizer.ggml.model = llama
Result<TokenizerParts> sentence_parts(const GgufHeader& header) {
  TokenizerParts parts;
  TROUPE_ASSIGN_OR_RETURN(const GgufTokens tokens, load_token_texts(header));
  // Without scores all tokens are equally likely, and pieces merge from the left.
  TROUPE_ASSIGN_OR_RETURN(const std::vector<double> scores,
                          load_token_scores(header, tokens.size()));
  BpeModel::Options options;
  options.fuse_unknown = true;
  AddedTokens frozen;
  std::vector<bool> merges(tokens.size()), unused(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string& text = (*tokens.texts)[i];
    const auto id = static_cast<TokenId>(i);
    const TokenType type = tokens.types[i];
    merges[i] = type == TokenType::kNormal || type == TokenType::kUnused;
    unused[i] = type == TokenType::kUnused;
    options.byte_fallback |= type == TokenType::kByte;
    if (type == TokenType::kUnknown) options.unknown = id;
    if (type == TokenType::kUserDefined) frozen.add({text, id, /*special=*/false});
    TROUPE_RETURN_IF_ERROR(add_piece(tokens, id, &parts));
  }
  TROUPE_RETURN_IF_ERROR(
      load_token_id(header, "tokenizer.ggml.unknown_token_id", tokens.size(), &options.unknown));
  bool add_prefix = true, remove_extra = false;
  TROUPE_RETURN_IF_ERROR(load_token_flag(header, "tokenizer.ggml.add_space_prefix", &add_prefix));
  TROUPE_RETURN_IF_ERROR(
      load_token_flag(header, "tokenizer.ggml.remove_extra_whitespaces", &remove_extra));
  parts.normalizers = {sentence_normalizer(remove_extra, add_prefix)};
  parts.drops_first_space = add_prefix;
  auto model = std::make_unique<BpeModel>(options, *tokens.texts);
  model->load_scores(scores, merges, unused);
  model->set_frozen(std::move(frozen));
  parts.model = std::move(model);
  TROUPE_RETURN_IF_ERROR(load_special_tokens(header, /*add_bos=*/true, /*add_eos=*/false, &parts));
  return parts;
}

// Reads the parts of a unigram tokenizer. A missing key means the same as in llama.cpp.
Result<TokenizerParts> unigram_parts(const GgufHeader& header) {
  TokenizerParts parts;
  TROUPE_ASSIGN_OR_RETURN(const GgufTokens tokens, load_token_texts(header));
  const std::size_t count = tokens.size();
  TROUPE_ASSIGN_OR_RETURN(const std::vector<double> list, load_token_scores(header, count));
  const UnigramScores scores(tokens, list);
  UnigramModel::Options options;
  options.single_precision = true;
  options.unknown_score = scores.unknown();
  options.unknown = -1;
  AddedTokens kept;
  for (std::size_t i = 0; i < count; ++i) {
    const TokenType type = tokens.types[i];
    const auto id = static_cast<TokenId>(i);
    options.byte_fallback |= type == TokenType::kByte;
    if (type == TokenType::kUnknown) options.unknown = id;
    if (type == TokenType::kUserDefined) kept.add({(*tokens.texts)[i], id, /*special=*/false});
    TROUPE_RETURN_IF_ERROR(add_piece(tokens, id, &parts));
  }
  if (options.unknown < 0 && count > 2) options.unknown = 2;
  TROUPE_RETURN_IF_ERROR(
      load_token_id(header, "tokenizer.ggml.unknown_token_id", count, &options.unknown));
  if (options.unknown < 0)
    return bad_token_key("tokenizer.ggml.tokens has no unknown token, which a unigram model needs");
  auto model = std::make_unique<UnigramModel>(options);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string& text = (*tokens.texts)[i];
    const TokenType type = tokens.types[i];
    const auto id = static_cast<TokenId>(i);
    if (type == TokenType::kByte)
      model->set_byte(static_cast<unsigned char>(fallback_byte(text)), id);
    const bool in_words = type == TokenType::kNormal || type == TokenType::kUserDefined;
    if (in_words && !text.empty()) model->add(text, id, scores.of(i));
  }
  parts.model = std::move(model);
  bool add_prefix = false, remove_extra = false;
  TROUPE_RETURN_IF_ERROR(load_token_flag(header, "tokenizer.ggml.add_space_prefix", &add_prefix));
  TROUPE_RETURN_IF_ERROR(
      load_token_flag(header, "tokenizer.ggml.remove_extra_whitespaces", &remove_extra));
  TROUPE_RETURN_IF_ERROR(add_charsmap(header, std::move(kept), &parts));
  parts.normalizers.push_back(sentence_normalizer(remove_extra, add_prefix));
  parts.drops_first_space = add_prefix;
  if (count > 1) {
    parts.eos = 1;
    parts.pad = 0;
  }
  TROUPE_RETURN_IF_ERROR(load_special_tokens(header, /*add_bos=*/false, /*add_eos=*/true, &parts));
  return parts;
}

}  // namespace troupe::model
