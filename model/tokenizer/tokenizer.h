#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/text/text_span.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/runtime/status.h>

// Text <-> token ids. open_tokenizer.h makes the tokenizer of a model, detokenizer.h turns tokens
// into text as they come.

namespace troupe::model {

struct EncodeOptions {
  bool add_special = true;    // adds BOS/EOS (CLS/SEP) if the model's file asks for them
  bool parse_special = true;  // "<|im_start|>" in the text is the special token, not plain text
  // Spans of the text, ascending, in which parse_special does not apply: what a user wrote, between
  // what a chat template wrote. Markup that touches a span is plain text.
  std::vector<TextSpan> plain = {};
  // Reading a text of more tokens stops as soon as that is known, which is at once for a text that
  // is far too long; 0 means no bound.
  std::size_t tokens_max = 0;
};

// Immutable; any thread may use one instance.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Errors: kInvalidArgument if `text` is not UTF-8 (says at which byte), kResourceExhausted if it
  // has more than options.tokens_max tokens.
  virtual Result<std::vector<TokenId>> encode(std::string_view text,
                                              const EncodeOptions& options) const = 0;
  // Returns the bytes of one token in the middle of a text. They may be a part of a UTF-8
  // character. Special tokens give their markup if `with_special`, else nothing.
  //   Errors: kInvalidArgument if the id is not in the vocabulary.
  virtual Result<std::string> piece(TokenId id, bool with_special) const = 0;
  // Says whether the first piece of a text loses a space that it begins with.
  virtual bool drops_first_space() const { return false; }
  virtual std::size_t vocabulary() const = 0;
  virtual bool is_end(TokenId id) const = 0;  // whether generation stops at this token
  virtual std::vector<TokenId> end_tokens() const = 0;
  virtual TokenId bos() const = 0;  // -1: none
  virtual TokenId eos() const = 0;  // -1: none
  virtual TokenId pad() const { return -1; }
};

}  // namespace troupe::model
