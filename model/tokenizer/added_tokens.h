#pragma once

#include <array>
#include <cstddef>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/text/text_span.h>
#include <troupe/model/tokenizer/string_index.h>
#include <troupe/model/tokenizer/token_id.h>

// Tokens that are looked for in a text before it is cut into words: markup such as <|im_start|>,
// and tokens that a model's maker has added. Filled once; any thread may look. Source:
// AddedVocabulary of Hugging Face's tokenizers.

namespace troupe::model {

struct AddedToken {
  std::string text;
  TokenId id = -1;
  bool special = true;       // it is markup, which is looked for only with parse_special
  bool single_word = false;  // found only if no letter or digit touches it
  bool strips_left = false, strips_right = false;  // takes the white space beside it
};

class AddedTokens {
 public:
  struct Found {
    TokenId id = -1;
    TextSpan span;
  };

  void add(AddedToken token);
  bool empty() const { return tokens_.empty(); }
  // Finds the longest token at each place, from left to right. Special tokens are left out unless
  // `parse_special`, and if they touch one of the spans `plain` (ascending).
  std::vector<Found> find(std::string_view text, bool parse_special,
                          std::span<const TextSpan> plain) const;
  // Returns the longest token at the start of `text`, or nullptr. It does not look at white space.
  const AddedToken* at(std::string_view text) const;

 private:
  std::deque<AddedToken> tokens_;  // the index keeps views of their texts
  StringIndex index_{0};           // index into tokens_
  // For each first byte, the lengths of the tokens that begin with it, longest first.
  std::array<std::vector<std::size_t>, 256> lengths_;
};

}  // namespace troupe::model
