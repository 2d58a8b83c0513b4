#include <algorithm>
#include <string>
#include <utility>

#include <troupe/model/tokenizer/tokenizer_parts.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

class PartsTokenizer final : public Tokenizer {
 public:
  explicit PartsTokenizer(TokenizerParts parts) : parts_(std::move(parts)) {
    ends_ = parts_.ends;
    ends_.push_back(parts_.eos);
    add_end_markup();
    std::erase_if(ends_, [](TokenId id) { return id < 0; });
    std::sort(ends_.begin(), ends_.end());
    ends_.erase(std::unique(ends_.begin(), ends_.end()), ends_.end());
  }

  Result<std::vector<TokenId>> encode(std::string_view text,
                                      const EncodeOptions& options) const override {
    const std::size_t valid = utf8_valid_prefix(text);
    if (valid != text.size()) {
      return Status(Code::kInvalidArgument, "the text is not UTF-8: byte " + std::to_string(valid) +
                                                " is not part of a character");
    }
    std::vector<TokenId> ids;
    ids.reserve(text.size() / 3 + 2);
    if (options.add_special) ids = parts_.before;
    std::size_t at = 0;
    for (const AddedTokens::Found& found :
         parts_.added.find(text, options.parse_special, options.plain)) {
      TROUPE_RETURN_IF_ERROR(encode_raw(text, {at, found.span.begin}, options, &ids));
      ids.push_back(found.id);
      at = found.span.end;
    }
    TROUPE_RETURN_IF_ERROR(encode_raw(text, {at, text.size()}, options, &ids));
    if (options.add_special) ids.insert(ids.end(), parts_.after.begin(), parts_.after.end());
    return ids;
  }

  Result<std::string> piece(TokenId id, bool with_special) const override {
    if (!parts_.vocabulary.holds(id)) {
      return Status(Code::kInvalidArgument, "token id " + std::to_string(id) +
                                                " is outside the vocabulary of " +
                                                std::to_string(vocabulary()) + " tokens");
    }
    const TokenType type = parts_.vocabulary.type(id);
    const bool plain =
        type == TokenType::kNormal || type == TokenType::kUserDefined || type == TokenType::kByte;
    return plain || with_special ? std::string(parts_.vocabulary.piece(id)) : std::string();
  }

  bool drops_first_space() const override { return parts_.drops_first_space; }
  std::size_t vocabulary() const override { return parts_.vocabulary.size(); }
  bool is_end(TokenId id) const override {
    return std::binary_search(ends_.begin(), ends_.end(), id);
  }
  std::vector<TokenId> end_tokens() const override { return ends_; }
  TokenId bos() const override { return parts_.bos; }
  TokenId eos() const override { return parts_.eos; }
  TokenId pad() const override { return parts_.pad; }

 private:
  void add_end_markup() {
    std::vector<TokenId> ends_message;
    bool returns = false, calls = false;
    for (std::size_t i = 0; i < parts_.vocabulary.size(); ++i) {
      const auto id = static_cast<TokenId>(i);
      const TokenType type = parts_.vocabulary.type(id);
      if (type != TokenType::kControl && type != TokenType::kUnknown) continue;
      const std::string_view text = parts_.vocabulary.piece(id);
      if (!is_end_markup(text)) continue;
      returns = returns || text == "<|return|>";
      calls = calls || text == "<|call|>";
      (text == "<|end|>" ? ends_message : ends_).push_back(id);
    }
    // In the harmony format <|end|> ends a message of an answer, and more messages follow.
    if (returns && calls) return;
    ends_.insert(ends_.end(), ends_message.begin(), ends_message.end());
  }

  // Encodes a stretch of the text between added tokens.
  Status encode_raw(std::string_view text, TextSpan span, const EncodeOptions& options,
                    std::vector<TokenId>* ids) const {
    if (span.begin >= span.end) return Status::ok();
    const std::string_view raw = text.substr(span.begin, span.end - span.begin);
    const bool at_start = span.begin == 0;
    if (parts_.normalizers.empty() && parts_.added_normalized.empty()) {
      return encode_words(raw, at_start, options.tokens_max, ids);
    }
    std::string normalized(raw);
    TROUPE_RETURN_IF_ERROR(normalize_text(parts_.normalizers, &normalized));
    // Normalizing moves bytes, so spans do not apply any more. The whole stretch is plain if any
    // part of it is.
    const bool parse_special =
        options.parse_special &&
        std::none_of(options.plain.begin(), options.plain.end(), [&](const TextSpan& plain) {
          return plain.begin < span.end && span.begin < plain.end;
        });
    std::size_t at = 0;
    for (const AddedTokens::Found& found :
         parts_.added_normalized.find(normalized, parse_special, {})) {
      const std::size_t bytes = found.span.begin - at;
      TROUPE_RETURN_IF_ERROR(encode_words(std::string_view(normalized).substr(at, bytes),
                                          at_start && at == 0, options.tokens_max, ids));
      ids->push_back(found.id);
      at = found.span.end;
    }
    return encode_words(std::string_view(normalized).substr(at), at_start && at == 0,
                        options.tokens_max, ids);
  }

  static Status check_count(std::size_t tokens, std::size_t tokens_max) {
    if (tokens_max == 0 || tokens <= tokens_max) return Status::ok();
    return Status(Code::kResourceExhausted,
                  "the text has more than " + std::to_string(tokens_max) + " tokens");
  }

  Status encode_words(std::string_view text, bool at_start, std::size_t tokens_max,
                      std::vector<TokenId>* ids) const {
    if (text.empty()) return Status::ok();
    WordList words;
    words.words.push_back(text);
    words.at_start = at_start;
    TROUPE_RETURN_IF_ERROR(cut_words(parts_.cuts, &words));
    for (const std::string_view word : words.words) {
      TROUPE_RETURN_IF_ERROR(
          check_count(ids->size() + parts_.model->fewest_tokens(word.size()), tokens_max));
      parts_.model->encode(word, ids);
    }
    return check_count(ids->size(), tokens_max);
  }

  TokenizerParts parts_;
  std::vector<TokenId> ends_;
};

}  // namespace

std::shared_ptr<const Tokenizer> assemble(TokenizerParts parts) {
  return std::make_shared<PartsTokenizer>(std::move(parts));
}

}  // namespace troupe::model
