#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/gguf.h>

// Text <-> token ids. Immutable after loading; any thread may use one instance.

namespace troupe::model {

using TokenId = std::int32_t;

struct EncodeOptions {
  bool add_special = true;    // BOS/EOS where the model's file asks for them
  bool parse_special = true;  // "<|im_start|>" in the text is the special token, not plain text
};

class Tokenizer {
 public:
  // Byte-level BPE (tokenizer.ggml.model = gpt2) with the pre-tokenizer that
  // tokenizer.ggml.pre names. Errors: kBadData naming the key and the value.
  static Result<std::shared_ptr<const Tokenizer>> from_gguf(const GgufHeader& header);
  virtual ~Tokenizer() = default;

  // kInvalidArgument when `text` is not UTF-8 (says at which byte).
  virtual Result<std::vector<TokenId>> encode(std::string_view text,
                                              const EncodeOptions& options) const = 0;
  // The bytes of one token; may be a part of a UTF-8 character. Special tokens give their markup
  // when `with_special`, else nothing. kInvalidArgument when the id is not in the vocabulary.
  virtual Result<std::string> piece(TokenId id, bool with_special) const = 0;
  virtual std::size_t vocabulary() const = 0;
  virtual bool is_end(TokenId id) const = 0;  // generation stops here
  virtual std::vector<TokenId> end_tokens() const = 0;
  virtual TokenId bos() const = 0;  // -1: none
  virtual TokenId eos() const = 0;  // -1: none
};

// Turns token bytes into text without ever emitting half a UTF-8 character: an incomplete tail is
// held back until it is whole; bytes that can never be part of a character become U+FFFD.
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);  // the complete characters so far
  std::string finish();                      // what is left, incomplete tails as U+FFFD

 private:
  std::string pending_;
};

}  // namespace troupe::model
