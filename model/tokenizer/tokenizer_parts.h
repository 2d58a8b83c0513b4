#pragma once

#include <memory>
#include <vector>

#include <troupe/model/tokenizer/added_tokens.h>
#include <troupe/model/tokenizer/normalizer.h>
#include <troupe/model/tokenizer/pre_tokenizer.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/tokenizer/vocabulary.h>
#include <troupe/model/tokenizer/word_model.h>

// The parts of a tokenizer, from whichever file they come. tokenizer_gguf.cpp and
// tokenizer_json.cpp fill them in, and assemble() makes a Tokenizer of them.

namespace troupe::model {

struct TokenizerParts {
  Vocabulary vocabulary;
  AddedTokens added;             // looked for in the text as it comes
  AddedTokens added_normalized;  // looked for in the normalized text
  std::vector<Normalizer> normalizers;
  std::vector<Cut> cuts;
  std::unique_ptr<const WordModel> model;
  std::vector<TokenId> before, after;  // what add_special puts around a text
  bool drops_first_space = false;
  TokenId bos = -1, eos = -1, pad = -1;
  std::vector<TokenId> ends;  // ends besides the eos and well-known markup
};

std::shared_ptr<const Tokenizer> assemble(TokenizerParts parts);

}  // namespace troupe::model
