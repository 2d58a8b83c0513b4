#pragma once

#include <string>
#include <vector>

#include <troupe/model/tokenizer/tokenizer.h>

namespace troupe::model::test {

// Returns the text of all ids, with the texts of special tokens.
inline std::string decode(const Tokenizer& tokenizer, const std::vector<TokenId>& ids) {
  std::string text;
  for (const TokenId id : ids) text += *tokenizer.piece(id, true);
  return text;
}

}  // namespace troupe::model::test
