#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/training/token_rows.h>
#include <troupe/model/transformer/stage.h>

// What `troupe classify` does with a model that labels words. Main thread only.

namespace troupe::tools {

struct WordLabels {
  std::vector<std::size_t> labels;    // of each word; a word without tokens has kNoLabel
  std::vector<double> probabilities;  // of these labels
  static constexpr std::size_t kNoLabel = static_cast<std::size_t>(-1);
};

// Labels the words of a text. A text that is longer than length_max tokens is read in separate
// parts.
//   Errors: those of encode_words and of Stage::forward.
Result<WordLabels> label_words(model::Stage& whole_model, const model::Tokenizer& tokenizer,
                               const std::vector<model::TextWord>& words, std::size_t length_max);

// Prints the entities of a text, or, if the names are not those of entities, each word with its
// label; with `json`, an object.
void print_words(const std::vector<model::TextWord>& words, const WordLabels& found,
                 const std::vector<std::string>& names, bool json);

}  // namespace troupe::tools
