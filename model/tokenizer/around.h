#pragma once

#include <vector>

#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/runtime/status.h>

// What a tokenizer puts around each text: BOS and EOS, or CLS and SEP.

namespace troupe::model {

struct TokensAround {
  std::vector<TokenId> before, after;
};

// Returns these tokens. Pure. Errors: kFailedPrecondition if the tokens around a text change the
// text's own tokens.
Result<TokensAround> tokens_around(const Tokenizer& tokenizer);

}  // namespace troupe::model
