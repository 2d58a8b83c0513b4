#include <algorithm>
#include <cstddef>

#include <troupe/model/tokenizer/around.h>

namespace troupe::model {

Result<TokensAround> tokens_around(const Tokenizer& tokenizer) {
  // With an empty text, what comes before it could not be told from what comes after it.
  TROUPE_ASSIGN_OR_RETURN(const std::vector<TokenId> all, tokenizer.encode("a", {}));
  TROUPE_ASSIGN_OR_RETURN(const std::vector<TokenId> text,
                          tokenizer.encode("a", {.add_special = false}));
  const auto at = std::search(all.begin(), all.end(), text.begin(), text.end());
  if (text.empty() || at == all.end())
    return Status(Code::kFailedPrecondition,
                  "the tokenizer changes a text's tokens when it puts others around the text");
  return TokensAround{{all.begin(), at},
                      {at + static_cast<std::ptrdiff_t>(text.size()), all.end()}};
}

}  // namespace troupe::model
