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
// size. Ids of such rows have no text.
class PaddedTokenizer final : public Tokenizer {
 public:
  PaddedTokenizer(std::shared_ptr<const Tokenizer> inner, std::size_t vocabulary)
      : inner_(std::move(inner)), vocabulary_(vocabulary) {}

  Result<std::vector<TokenId>> encode(std::string_view text,
                                      const EncodeOptions& options) const override {
    return inner_->encode(text, options);
  }
  Result<std::string> piece(TokenId id, bool with_special) const override {
    const auto index = static_cast<std::size_t>(id);
    if (id >= 0 && index >= inner_->vocabulary() && index < vocabulary_) return std::string();
    return inner_->piece(id, with_special);
  }
  bool drops_first_space() const override { return inner_->drops_first_space(); }
  std::size_t vocabulary() const override { return vocabulary_; }
  bool is_end(TokenId id) const override { return inner_->is_end(id); }
  std::vector<TokenId> end_tokens() const override { return inner_->end_tokens(); }
  TokenId bos() const override { return inner_->bos(); }
  TokenId eos() const override { return inner_->eos(); }
  TokenId pad() const override { return inner_->pad(); }

 private:
  const std::shared_ptr<const Tokenizer> inner_;
  const std::size_t vocabulary_;
};

// Refuses tokens of text that the model has no row for. Padding and markup beyond the model's rows
// occur and do no harm, because the model never produces them.
Status check_rows(const GgufHeader& header, const Tokenizer& tokenizer, std::size_t vocabulary) {
  if (vocabulary == 0) return Status::ok();
  for (std::size_t id = vocabulary; id < tokenizer.vocabulary(); ++id) {
    TROUPE_ASSIGN_OR_RETURN(const std::string piece,
                            tokenizer.piece(static_cast<TokenId>(id), /*with_special=*/false));
    if (piece.empty()) continue;
    return header.of_this(
        Status(Code::kBadData, "the tokenizer has the token " + in_quotes(piece, 40) + " of id " +
                                   std::to_string(id) + ", but tensor token_embd.weight has " +
                                   std::to_string(vocabulary) + " rows; fetch the file again"));
  }
  return Status::ok();
}

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
  TROUPE_ASSIGN_OR_RETURN(std::vector<TokenId> ends, end_token_ids(header, vocabulary));
  if (has_tokenizer(header)) {
    TROUPE_ASSIGN_OR_RETURN(std::shared_ptr<const Tokenizer> tokenizer,
                            tokenizer_from_gguf(header));
    TROUPE_RETURN_IF_ERROR(check_rows(header, *tokenizer, vocabulary));
    if (tokenizer->vocabulary() >= vocabulary) return tokenizer;
    return std::shared_ptr<const Tokenizer>(
        std::make_shared<PaddedTokenizer>(std::move(tokenizer), vocabulary));
  }
  return std::shared_ptr<const Tokenizer>(
      std::make_shared<IdTokenizer>(vocabulary, std::move(ends)));
}

}  // namespace troupe::model
