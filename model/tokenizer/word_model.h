#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include <troupe/model/tokenizer/token_id.h>

namespace troupe::model {

// Turns a word into tokens. Immutable once made; any thread may encode.
class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the tokens of `word`, which is UTF-8.
  virtual void encode(std::string_view word, std::vector<TokenId>* ids) const = 0;
  // Returns a lower bound of the number of tokens that a word of this number of bytes takes.
  virtual std::size_t fewest_tokens(std::size_t /*bytes*/) const { return 0; }
};

}  // namespace troupe::model
