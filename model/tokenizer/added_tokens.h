#pragma once

#include <array>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/text/regex.h>
#include <troupe/model/tokenizer/string_index.h>
#include <troupe/model/tokenizer/token_id.h>

// Tokens that are found in a text before it is cut into words: markup such as <|im_start|>, and
// what a model's maker has added. Filled once; any thread may look.
// Source: AddedVocabulary of Hugging Face's tokenizers.

namespace troupe::model {

struct AddedToken {
  std::string text;
  TokenId id = -1;
  bool special = true;                             // markup: plain text may hide it
  bool single_word = false;                        // only where no letter or digit touches it
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
  // From left to right the longest token at each place. Special ones are left out unless
  // `parse_special`, and where they touch one of `plain` (ascending).
  std::vector<Found> find(std::string_view text, bool parse_special,
                          std::span<const TextSpan> plain) const;
  // The longest token at the start of `text`, or nullptr; white space is not looked at.
  const AddedToken* at(std::string_view text) const;

 private:
  std::deque<AddedToken> tokens_;  // the index keeps views of their texts
  StringIndex index_{0};           // index into tokens_
  // By first byte: the lengths that such tokens have, longest first.
  std::array<std::vector<std::size_t>, 256> lengths_;
};

}  // namespace troupe::model
