#include <algorithm>

#include <troupe/model/id_tokenizer.h>

namespace troupe::model {
namespace {

class IdTokenizer final : public Tokenizer {
 public:
  IdTokenizer(std::size_t vocabulary, std::vector<TokenId> end_tokens)
      : vocabulary_(vocabulary), end_tokens_(std::move(end_tokens)) {}

  Result<std::vector<TokenId>> encode(std::string_view, const EncodeOptions&) const override {
    return no_tokenizer();
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

}  // namespace

std::vector<TokenId> end_token_ids(const GgufHeader& header, std::size_t vocabulary) {
  std::vector<TokenId> ids;
  const auto found = header.metadata.find(kEndTokensKey);
  if (found == header.metadata.end()) return ids;
  if (const auto* values = std::get_if<std::vector<std::int64_t>>(&found->second))
    for (const std::int64_t id : *values)
      if (id >= 0 && static_cast<std::uint64_t>(id) < vocabulary)
        ids.push_back(static_cast<TokenId>(id));
  return ids;
}

bool has_tokenizer(const GgufHeader& header) {
  return header.metadata.contains("tokenizer.ggml.model") ||
         header.metadata.contains(Tokenizer::kJsonKey);
}

Status no_tokenizer() {
  return Status(Code::kFailedPrecondition,
                "the model has no tokenizer; give token ids (--prompt-ids), or put its "
                "tokenizer.json into the folder");
}

Result<std::shared_ptr<const Tokenizer>> open_tokenizer(const GgufHeader& header,
                                                        std::size_t vocabulary) {
  if (has_tokenizer(header)) return Tokenizer::from_gguf(header);
  return std::shared_ptr<const Tokenizer>(
      std::make_shared<IdTokenizer>(vocabulary, end_token_ids(header, vocabulary)));
}

}  // namespace troupe::model
