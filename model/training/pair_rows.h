#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/training/dataset.h>

// Texts that belong together, to train embeddings on: rows of JSONL with an anchor, a positive and
// hard negatives, and the examples that they become.

namespace troupe::model {

struct PairRow {
  std::size_t line = 0;
  std::vector<std::string> texts;  // the anchor, its positive, the negatives
};
struct PairRows {
  std::vector<PairRow> rows;
  std::vector<DroppedRow> dropped;
  std::size_t negatives = 0;  // of each row
};

// Reads rows with `anchor` (or `query`), `positive` and perhaps `negative`, a text or a list of
// texts. Each row must have as many negatives as the first one; others are left out and named.
//   Errors: as read_data_rows.
Result<PairRows> read_pair_rows(const std::filesystem::path& path);

// Makes an example of each text, row after row. A row that loses a text is left out.
//   Errors: kBadData if no row is left.
Result<Dataset> pair_dataset(const PairRows& rows, const Tokenizer& tokenizer,
                             const DatasetOptions& options);

}  // namespace troupe::model
