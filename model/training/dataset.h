#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/training/data_rows.h>
#include <troupe/model/training/example.h>

// From the rows of a file to examples: tokens, targets and labels. The ids are those that `troupe
// run` gives the model for the same text.

namespace troupe::model {

// What becomes of an example that is longer than length_max.
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

// Running text for a language model: each row is cut into windows of length_max tokens, in which
// each position predicts the next.
//   Errors: kFailedPrecondition if the model has no tokenizer; kBadData if no row has two tokens.
Result<Dataset> language_dataset(const DataRows& rows, const Tokenizer& tokenizer,
                                 const DatasetOptions& options);
// Texts with labels for a classifier. `labels` are the names that are known, in the order of their
// numbers; empty: the names of the rows, sorted.
//   Errors: as above; kBadData if there are fewer than two labels, or a label is not known.
Result<Dataset> classification_dataset(const DataRows& rows, const Tokenizer& tokenizer,
                                       const DatasetOptions& options,
                                       std::vector<std::string> labels = {});
// Texts with numbers for a regression; `name` is what the number is called. Rows without a number
// are left out.
//   Errors: as above; kBadData if no row is left.
Result<Dataset> regression_dataset(const DataRows& rows, const Tokenizer& tokenizer,
                                   const DatasetOptions& options, const std::string& name);

// What the classes' losses are multiplied by: "" for nothing, "balanced" for the number of labels
// in the data divided by the number of classes and that of the class's own (as scikit-learn has
// it), or "NAME=WEIGHT,..." where a class that is not named has 1.
//   Errors: kInvalidArgument naming the part that is wrong, or a class without an example.
Result<std::vector<float>> class_weights(const std::string& text, const Dataset& dataset);

// The ids of a text as an encoder reads it: markup of special tokens around it, cut to length_max
// with its last token kept.
Result<std::vector<TokenId>> encode_text(const std::string& text, const Tokenizer& tokenizer,
                                         const DatasetOptions& options, bool* truncated);

// The names of the rows' labels, sorted, each once.
std::vector<std::string> label_names_of(const DataRows& rows);

// Draws which of `count` rows are kept for validation: `fraction` of them, rounded, at least one
// and not all, by the seed alone. Fewer than two rows are all trained on.
std::vector<bool> draw_validation_rows(std::size_t count, double fraction, std::uint64_t seed);

// The order of `count` examples in an epoch: as they are, or shuffled by (seed, epoch) alone.
std::vector<std::size_t> epoch_order(std::size_t count, bool shuffled, std::uint64_t seed,
                                     std::uint64_t epoch);

}  // namespace troupe::model
