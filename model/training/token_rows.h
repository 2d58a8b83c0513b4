#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/training/dataset.h>
#include <troupe/model/training/text_words.h>

// Texts whose words have labels: rows of JSONL, and the examples for a classifier of tokens that
// they become. The first sub-word of a word has the word's label; the others are not trained.

namespace troupe::model {

// What a row says about a word: the name of a label, or "" if the word is not trained.
struct TokenRow {
  std::size_t line = 0;
  std::vector<TextWord> words;
  std::vector<std::string> tags;  // of each word; empty if the row has none
  bool is_numbered = false;       // the tags are numbers of labels
};
struct TokenRows {
  std::vector<TokenRow> rows;
  std::vector<DroppedRow> dropped;
};

struct TokenFields {
  std::string text = "text";
  std::string tags;        // "": `tags`, or else `ner_tags`
  bool needs_tags = true;  // a row without tags is left out
};

// Reads rows with
//   tokens, tags    two lists of one length: words, and their labels, by name or number; null, or
//                   the number -100, is a word that is not trained
//   text, entities  a text and [{"start", "end", "label"}], where start and end count characters
//                   as Python does. The first word of an entity of label X gets the label B-X, the
//                   next ones I-X, and all other words O.
//   Errors: as read_data_rows; kBadData if some rows have numbers and others names.
Result<TokenRows> read_token_rows(const std::filesystem::path& path, const TokenFields& fields);

// Returns the names of the rows' labels, sorted: for numbers, LABEL_0 to the largest; for entities,
// both B-X and I-X of each label.
std::vector<std::string> token_label_names(const TokenRows& rows);

// Makes an example of each row. `labels` are the names in the order of their numbers.
//   Errors: kFailedPrecondition if the model has no tokenizer; kBadData if there are fewer than two
//   labels, a label is not known, or no row is left.
Result<Dataset> token_dataset(const TokenRows& rows, const Tokenizer& tokenizer,
                              const DatasetOptions& options, std::vector<std::string> labels);

// Words of one text that belong together.
struct WordSpan {
  std::size_t first = 0, count = 0;  // words
  std::string label;                 // without its prefix
  bool operator==(const WordSpan&) const = default;
};

// True if the names are those of entities: O, B-X, I-X.
bool are_entity_labels(const std::vector<std::string>& names);
// Returns the entities of a text whose words have these labels. B-X begins one; so does I-X where
// the word before has no label of X, as in seqeval's default.
std::vector<WordSpan> entities_of(const std::vector<std::string>& labels);

}  // namespace troupe::model
