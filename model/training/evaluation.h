#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/training/data_rows.h>
#include <troupe/model/training/example.h>
#include <troupe/model/training/token_rows.h>
#include <troupe/model/transformer/stage.h>

// Measures how well a model does on data, for `troupe eval`. The model computes as it does when it
// answers, in the formats of its file. Sums are in double precision in the order of the data, so
// that they do not depend on threads.

namespace troupe::model {

// Sums over tokens that were predicted.
struct TokenScore {
  double nll = 0.0;  // of -log p(token)
  std::size_t tokens = 0;
  std::size_t hits = 0;   // tokens that have the largest logit
  std::size_t bytes = 0;  // of the text that these tokens stand for

  void add(const TokenScore& other);
  double loss() const { return nll / static_cast<double>(tokens); }
  // 0 if the tokens stand for no text.
  double bits_per_byte() const;
};

// Scores the targets of an example of a decoder.
//   Errors: those of Stage::forward.
Result<TokenScore> score_example(Stage& whole_model, const Example& example,
                                 const Tokenizer& tokenizer);

// The outcomes of a classifier, counted by label and answer.
class Confusion {
 public:
  explicit Confusion(std::size_t labels) : counts_(labels, std::vector<std::size_t>(labels)) {}
  void add(std::size_t label, std::size_t answer) { ++counts_[label][answer]; }

  // [label][answer]
  const std::vector<std::vector<std::size_t>>& counts() const { return counts_; }
  std::size_t rows() const;
  std::size_t right() const;
  std::size_t rows_of(std::size_t label) const;     // with this label
  std::size_t answers_of(std::size_t label) const;  // with this answer
  // These are for one label. If there is nothing to divide by, the value is 0, as in scikit-learn.
  double precision(std::size_t label) const;
  double recall(std::size_t label) const;
  double f1(std::size_t label) const;
  // Returns the mean of f1 over the labels that occur as a label or as an answer. `outside` is a
  // label that does not count, as O of entities; kNoLabel: all count.
  double macro_f1(std::size_t outside = kNoLabel) const;
  // Returns F1 of all labels together: the number of their right answers, divided by the mean of
  // the numbers of their rows and their answers.
  double micro_f1(std::size_t outside = kNoLabel) const;

  static constexpr std::size_t kNoLabel = static_cast<std::size_t>(-1);

 private:
  std::vector<std::vector<std::size_t>> counts_;
};

// How many entities were found whole: the right words with the right label, as seqeval counts.
struct EntityScore {
  std::size_t entities = 0, found = 0, right = 0;
  // Adds a text whose words have these labels and got these answers.
  void add(const std::vector<std::string>& labels, const std::vector<std::string>& answers);
  double precision() const;
  double recall() const;
  double f1() const;
};

// A question with several answers to choose from, one of which is right.
struct ChoiceRow {
  std::size_t line = 0;
  std::string prompt;
  std::vector<std::string> choices;  // at least two
  std::size_t answer = 0;            // counted from 0
};
struct ChoiceRows {
  std::vector<ChoiceRow> rows;
  std::vector<DroppedRow> dropped;
};

// Reads JSON lines with `prompt`, a text, `choices`, a list of texts, and `answer`, which is the
// number of a choice, counted from 0, or its letter (A is the first).
//   Errors: as read_data_rows.
Result<ChoiceRows> read_choice_rows(const std::filesystem::path& path);

// Makes an example of the prompt followed by one choice, in which only the choice is predicted. The
// choice begins at the first token in which the whole text differs from the prompt alone.
//   Errors: kBadData if the choice adds no token, or there is no token before it.
Result<Example> choice_example(const ChoiceRow& row, std::size_t choice,
                               const Tokenizer& tokenizer);

}  // namespace troupe::model
