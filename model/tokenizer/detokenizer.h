#pragma once

#include <string>

#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/runtime/text/utf8_stream.h>

namespace troupe::model {

// Turns the tokens of a whole text back into it, token by token. It gives whole characters only,
// and leaves out the space that some vocabularies put before the first word. One owner at a time.
class Detokenizer {
 public:
  // `tokenizer` must outlive the object.
  Detokenizer(const Tokenizer& tokenizer, bool with_special)
      : tokenizer_(tokenizer), with_special_(with_special) {}
  // Returns the characters that this token completes.
  //   Errors: kInvalidArgument if the id is not in the vocabulary.
  Result<std::string> push(TokenId id);
  // Returns the bytes of a character that the last tokens left incomplete.
  std::string finish() { return characters_.finish(); }

 private:
  const Tokenizer& tokenizer_;
  bool with_special_;
  bool begun_ = false;
  Utf8Stream characters_;
};

}  // namespace troupe::model
