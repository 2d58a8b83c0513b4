#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/files/gguf.h>
#include <troupe/model/text/regex.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/runtime/text/utf8_stream.h>

// Text <-> token ids. Immutable after loading; any thread may use one instance.

namespace troupe::model {

struct EncodeOptions {
  bool add_special = true;    // BOS/EOS (CLS/SEP) where the model's file asks for them
  bool parse_special = true;  // "<|im_start|>" in the text is the special token, not plain text
  // Spans of the text, ascending, in which parse_special does not hold: what a user wrote, between
  // what a chat template wrote. Markup that touches a span is plain text.
  std::vector<TextSpan> plain = {};
};

class Tokenizer {
 public:
  // tokenizer.ggml.model = gpt2 (byte-level BPE with the pre-tokenizer that tokenizer.ggml.pre
  // names), llama (SentencePiece's BPE) or bert (WordPiece); or, where they are there, the texts
  // under kJsonKey, kConfigKey and kSpecialKey. Errors: kBadData naming the key and the value.
  static Result<std::shared_ptr<const Tokenizer>> from_gguf(const GgufHeader& header);
  // Hugging Face's tokenizer.json, and tokenizer_config.json, which may be empty: its special
  // tokens, and add_bos_token where the former has no post-processor. Errors: kBadData naming the
  // field and what is not known.
  static Result<std::shared_ptr<const Tokenizer>> from_json(std::string_view tokenizer_json,
                                                            std::string_view config_json);
  static constexpr std::string_view kJsonKey = "troupe.tokenizer_json";
  static constexpr std::string_view kConfigKey = "troupe.tokenizer_config_json";
  static constexpr std::string_view kSpecialKey = "troupe.special_tokens_map_json";
  virtual ~Tokenizer() = default;

  // kInvalidArgument when `text` is not UTF-8 (says at which byte).
  virtual Result<std::vector<TokenId>> encode(std::string_view text,
                                              const EncodeOptions& options) const = 0;
  // The bytes of one token in the middle of a text; may be a part of a UTF-8 character. Special
  // tokens give their markup when `with_special`, else nothing. kInvalidArgument when the id is not
  // in the vocabulary.
  virtual Result<std::string> piece(TokenId id, bool with_special) const = 0;
  // At the beginning of a text the first piece loses a space that it begins with.
  virtual bool drops_first_space() const { return false; }
  virtual std::size_t vocabulary() const = 0;
  virtual bool is_end(TokenId id) const = 0;  // generation stops here
  virtual std::vector<TokenId> end_tokens() const = 0;
  virtual TokenId bos() const = 0;  // -1: none
  virtual TokenId eos() const = 0;  // -1: none
  virtual TokenId pad() const { return -1; }
};

// Turns the tokens of a whole text into it, as they come: whole characters only, and without the
// space that some vocabularies put before the first word.
class Detokenizer {
 public:
  // `tokenizer` must outlive it.
  Detokenizer(const Tokenizer& tokenizer, bool with_special)
      : tokenizer_(tokenizer), with_special_(with_special) {}
  // kInvalidArgument when the id is not in the vocabulary.
  Result<std::string> push(TokenId id);
  std::string finish() { return characters_.finish(); }

 private:
  const Tokenizer& tokenizer_;
  bool with_special_;
  bool begun_ = false;
  Utf8Stream characters_;
};

}  // namespace troupe::model
