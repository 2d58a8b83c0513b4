#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/training/dataset.h>

// The words of a text, as a classifier of tokens counts them, and the ids by which a model reads
// them. Pure.

namespace troupe::model {

// A word, from character `begin` to `end` of its text. Characters are code points, as Python counts
// them.
struct TextWord {
  std::size_t begin = 0, end = 0;
  std::string text;
};

// Cuts a text where BERT's tokenizers do: at white space, and around each punctuation mark and each
// ideograph.
std::vector<TextWord> words_of(std::string_view text);
// Returns the words of a list of tokens, whose text has a space between one token and the next.
std::vector<TextWord> words_of(const std::vector<std::string>& tokens);

struct WordIds {
  std::vector<TokenId> ids;  // with the tokens that the model's tokenizer puts around a text
  // For each word, the place of its first sub-word in `ids`, or kNoPlace.
  std::vector<std::size_t> places;
  std::size_t first = 0, end = 0;  // the words that were taken
  static constexpr std::size_t kNoPlace = static_cast<std::size_t>(-1);
};

// Encodes words from `first` on, each by itself (as transformers does with is_split_into_words),
// until there are length_max tokens. A word is taken whole or not at all, unless it alone is longer
// and is cut. A word that gives no tokens has no place.
//   Errors: those of the tokenizer; kInvalidArgument if length_max leaves no room for a token.
Result<WordIds> encode_words(const std::vector<TextWord>& words, std::size_t first,
                             const Tokenizer& tokenizer, std::size_t length_max);

}  // namespace troupe::model
