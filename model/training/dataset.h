#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/training/data_rows.h>
#include <troupe/model/training/example.h>

// Turns the rows of a file into examples: tokens, targets and labels. The ids are those that
// `troupe run` gives the model for the same text.

namespace troupe::model {

// What happens to an example that is longer than length_max.
enum class Truncation : std::uint8_t { kRight, kLeft, kDrop };

struct DatasetOptions {
  std::size_t length_max = 512;  // tokens of an example
  Truncation truncation = Truncation::kRight;
};

struct Dataset {
  std::vector<Example> examples;
  std::vector<std::string> labels;  // of a classifier: the name of each number, sorted
  std::vector<DroppedRow> dropped;  // rows that were left out, in the order of the file
  std::size_t truncated = 0;        // rows that lost tokens
};

// Makes examples of running text for a language model: each row is cut into windows of length_max
// tokens, in which each position predicts the next.
//   Errors: kFailedPrecondition if the model has no tokenizer; kBadData if no row has two tokens.
Result<Dataset> language_dataset(const DataRows& rows, const Tokenizer& tokenizer,
                                 const DatasetOptions& options);
// Makes examples of texts with labels for a classifier. `labels` are the known names in the order
// of their numbers; if it is empty, the names of the rows, sorted.
//   Errors: as above; kBadData if there are fewer than two labels, or a label is not known.
Result<Dataset> classification_dataset(const DataRows& rows, const Tokenizer& tokenizer,
                                       const DatasetOptions& options,
                                       std::vector<std::string> labels = {});
// Makes examples of texts with numbers for a regression; `name` is the name of the number. Rows
// without a number are left out.
//   Errors: as above; kBadData if no row is left.
Result<Dataset> regression_dataset(const DataRows& rows, const Tokenizer& tokenizer,
                                   const DatasetOptions& options, const std::string& name);

// Returns the weights by which the classes' losses are multiplied. `text` is "" for none;
// "balanced" for the number of labels in the data, divided by the number of classes and by the
// number of the class's own labels (as in scikit-learn); or "NAME=WEIGHT,...", in which a class
// that is not named has 1.
//   Errors: kInvalidArgument naming the part that is wrong, or a class without an example.
Result<std::vector<float>> class_weights(const std::string& text, const Dataset& dataset);

// Returns the ids of a text as an encoder reads it: with special tokens around it, and cut to
// length_max so that the last of them stays.
Result<std::vector<TokenId>> encode_text(const std::string& text, const Tokenizer& tokenizer,
                                         const DatasetOptions& options, bool* truncated);

// Returns the names of the rows' labels, sorted, each once.
std::vector<std::string> label_names_of(const DataRows& rows);

// Draws which of `count` rows are kept for validation, by the seed alone: `fraction` of them,
// rounded, but at least one and not all. If there are fewer than two rows, none is kept.
std::vector<bool> draw_validation_rows(std::size_t count, double fraction, std::uint64_t seed);

// Returns the order of `count` examples in an epoch: unchanged, or shuffled by (seed, epoch) alone.
std::vector<std::size_t> epoch_order(std::size_t count, bool shuffled, std::uint64_t seed,
                                     std::uint64_t epoch);

}  // namespace troupe::model
