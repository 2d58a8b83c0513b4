#include <algorithm>
#include <string>
#include <utility>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

class IdTokenizer final : public Tokenizer {
 public:
  IdTokenizer(std::size_t vocabulary, std::vector<TokenId> end_tokens)
      : vocabulary_(vocabulary), end_tokens_(std::move(end_tokens)) {}

  Result<std::vector<TokenId>> encode(std::string_view, const EncodeOptions&) const override {
    return Status(Code::kFailedPrecondition,
                  "the model has no tokenizer; give token ids (--prompt-ids), or put its "
                  "tokenizer.json into the folder");
  }
  Result<std::string> piece(TokenId id, bool) const override {
    if (id >= 0 && static_cast<std::size_t>(id) < vocabulary_) return std::string();
    return Status(Code::kInvalidArgument, "token id " + std::to_string(id) +
                                              " is not in the vocabulary of " +
                                              std::to_string(vocabulary_));
  }
  std::size_t vocabulary() const override { return vocabulary_; }
  bool is_end(TokenId id) const override {
    return std::find(end_tokens_.begin(), end_tokens_.end(), id) != end_tokens_.end();
  }
  std::vector<TokenId> end_tokens() const override { return end_tokens_; }
  TokenId bos() const override { return -1; }
  TokenId eos() const override { return end_tokens_.empty() ? -1 : end_tokens_.front(); }

 private:
  const std::size_t vocabulary_;
  const std::vector<TokenId> end_tokens_;
};

// A model often has more rows than its tokenizer has tokens, so that its matrices have an even
// size: ids of such rows have no text. It may also have fewer, because tokens were added to the
// tokenizer and not to the model. Such tokens are never generated, and a text that has one cannot
// be run.
class RowsTokenizer final : public Tokenizer {
 public:
  RowsTokenizer(std::shared_ptr<const Tokenizer> inner, std::size_t rows)
      : inner_(std::move(inner)), rows_(rows), ends_(inner_->end_tokens()) {
    std::erase_if(ends_, [&](TokenId id) { return !has_row(id); });
  }

  Result<std::vector<TokenId>> encode(std::string_view text,
                                      const EncodeOptions& options) const override {
    Result<std::vector<TokenId>> ids = inner_->encode(text, options);
    if (!ids.is_ok()) return ids;
    const auto outside =
        std::find_if(ids->begin(), ids->end(), [&](TokenId id) { return !has_row(id); });
    if (outside == ids->end()) return ids;
    TROUPE_ASSIGN_OR_RETURN(const std::string piece,
                            inner_->piece(*outside, /*with_special=*/true));
    return Status(Code::kInvalidArgument,
                  "the text has the token " + in_quotes(piece, 40) + " of id " +
                      std::to_string(*outside) + ", for which the model has no row (its tensor " +
                      "token_embd.weight has " + std::to_string(rows_) +
                      "); leave it out, or take a model whose tokenizer fits");
  }
  Result<std::string> piece(TokenId id, bool with_special) const override {
    if (has_row(id) && static_cast<std::size_t>(id) >= inner_->vocabulary()) return std::string();
    if (has_row(id)) return inner_->piece(id, with_special);
    return Status(Code::kInvalidArgument, "token id " + std::to_string(id) +
                                              " is outside the vocabulary of " +
                                              std::to_string(rows_) + " tokens");
  }
  bool drops_first_space() const override { return inner_->drops_first_space(); }
  std::size_t vocabulary() const override { return rows_; }
  bool is_end(TokenId id) const override { return inner_->is_end(id); }
  std::vector<TokenId> end_tokens() const override { return ends_; }
  TokenId bos() const override { return has_row(inner_->bos()) ? inner_->bos() : -1; }
  TokenId eos() const override { return has_row(inner_->eos()) ? inner_->eos() : -1; }
  TokenId pad() const override { return has_row(inner_->pad()) ? inner_->pad() : -1; }

 private:
  bool has_row(TokenId id) const { return id >= 0 && static_cast<std::size_t>(id) < rows_; }

  const std::shared_ptr<const Tokenizer> inner_;
  const std::size_t rows_;
  std::vector<TokenId> ends_;
};

}  // namespace

bool has_tokenizer(const GgufHeader& header) {
  return header.metadata.contains("tokenizer.ggml.model") ||
         header.metadata.contains(header_keys::kTokenizerJson);
}

Status no_tokenizer() {
  return Status(
      Code::kFailedPrecondition,
      "the model has no tokenizer: put its tokenizer.json into the folder, or take a model "
      "that has one");
}

Result<std::shared_ptr<const Tokenizer>> open_tokenizer(const GgufHeader& header,
                                                        std::size_t vocabulary) {
  if (has_tokenizer(header)) {
    TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<const Tokenizer> tokenizer,
                            tokenizer_from_gguf(header));
    if (vocabulary == 0 || tokenizer->vocabulary() == vocabulary) return tokenizer;
    return std::shared_ptr<const Tokenizer>(
        std::make_shared<RowsTokenizer>(std::move(tokenizer), vocabulary));
  }
  return std::shared_ptr<const Tokenizer>(
      std::make_shared<IdTokenizer>(vocabulary, end_token_ids(header, vocabulary)));
}

}  // namespace troupe::model
