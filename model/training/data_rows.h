#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/runtime/status.h>

// The rows of a training file: JSONL, CSV or plain text, distinguished by the file's ending
// (.jsonl, .ndjson, .csv; anything else is plain text). Rows that cannot be read are left out and
// named.

namespace troupe::model {

struct DataFields {
  std::string text = "text", label = "label";
  bool with_labels = false;  // a row without a label is left out
};

struct DataRow {
  std::size_t line = 0;  // of the file, from 1
  std::string text, label;
};

// A row that was left out.
struct DroppedRow {
  std::size_t line = 0;
  std::string why;
};

struct DataRows {
  std::vector<DataRow> rows;
  std::vector<DroppedRow> dropped;
};

// Reads a file of at most 4 GiB, as all readers of rows do.
//   Errors: kNotFound; kBadData if it is not UTF-8, naming the byte.
Result<std::string> read_data_text(const std::filesystem::path& path);

// A line that is not blank, without its end.
struct NumberedLine {
  std::size_t number = 0;  // in the file, from 1
  std::string_view text;   // a part of the file's text
};
std::vector<NumberedLine> lines_of(std::string_view text);

// Returns why the first row that was left out cannot be used, to follow the words "no row".
std::string why_none(const std::vector<DroppedRow>& dropped);

// Reads all rows. A plain text file is one row; if labels are needed it is refused, because it has
//   none.
//   Errors: kNotFound; kBadData if the file is not UTF-8, is empty, or holds no row that can be
//   used, each naming file, line and field.
Result<DataRows> read_data_rows(const std::filesystem::path& path, const DataFields& fields);

}  // namespace troupe::model
