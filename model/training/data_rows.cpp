#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include <troupe/model/training/data_rows.h>
#include <troupe/model/training/text_limits.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

using nlohmann::json;

Status bad_data(const std::filesystem::path& path, const std::string& what) {
  return Status(Code::kBadData, path.string() + " " + what);
}

// Returns a text or a number of a row; nothing if the field is something else.
std::optional<std::string> text_of(const json& row, const std::string& field) {
  const auto found = row.find(field);
  if (found == row.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number() || found->is_boolean()) return found->dump();
  return std::nullopt;
}

std::string missing(const json& row, const std::string& field) {
  return row.contains(field) ? "its field " + in_quotes(field) + " is not text"
                             : "it has no field " + in_quotes(field);
}

// Reads one line of JSON into the rows of `out`, or records why the line is left out.
void read_json_line(std::string_view line, std::size_t number, const DataFields& fields,
                    DataRows* out) {
  const auto drop = [&](std::string why) { out->dropped.push_back({number, std::move(why)}); };
  const Result<json> row = parse_json(line, "the line", kTextLimits);
  if (!row) return drop("it is not JSON (" + row.message() + ")");
  if (!row->is_object()) return drop("it is JSON, but not an object");
  DataRow read{number, {}, {}};
  const std::optional<std::string> text = text_of(*row, fields.text);
  if (!text) return drop(missing(*row, fields.text));
  read.text = *text;
  if (fields.with_labels) {
    const std::optional<std::string> label = text_of(*row, fields.label);
    if (!label) return drop(missing(*row, fields.label));
    read.label = *label;
  }
  out->rows.push_back(std::move(read));
}

void read_json_lines(std::string_view text, const DataFields& fields, DataRows* out) {
  for (const NumberedLine& line : lines_of(text)) {
    read_json_line(line.text, line.number, fields, out);
  }
}

// Reads one record of CSV as RFC 4180 defines it: fields in quotes may contain commas, newlines and
// doubled quotes. `at` and `line` move to the next record.
std::vector<std::string> read_record(std::string_view text, std::size_t* at, std::size_t* line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (; *at < text.size(); ++*at) {
    const char c = text[*at];
    if (c == '\n') ++*line;
    if (quoted) {
      if (c != '"') {
        fields.back() += c;
      } else if (*at + 1 < text.size() && text[*at + 1] == '"') {
        fields.back() += '"';
        ++*at;
      } else {
        quoted = false;
      }
    } else if (c == '"' && fields.back().empty()) {
      quoted = true;
    } else if (c == ',') {
      fields.emplace_back();
    } else if (c == '\n') {
      ++*at;
      break;
    } else if (c != '\r' || (*at + 1 < text.size() && text[*at + 1] != '\n')) {
      fields.back() += c;
    }
  }
  return fields;
}

Status read_csv(std::string_view text, const std::filesystem::path& path, const DataFields& fields,
                DataRows* out) {
  std::size_t at = 0, line = 1;
  const std::vector<std::string> header = read_record(text, &at, &line);
  const auto column = [&](const std::string& name) {
    return static_cast<std::size_t>(std::find(header.begin(), header.end(), name) - header.begin());
  };
  const std::size_t text_column = column(fields.text), label_column = column(fields.label);
  for (const auto& [index, name] : {std::pair{text_column, fields.text},
                                    std::pair{fields.with_labels ? label_column : 0, fields.label}})
    if (index == header.size())
      return bad_data(path, "has no column " + in_quotes(name) +
                                " in its first line; name the columns with --text-field and "
                                "--label-field");
  while (at < text.size()) {
    const std::size_t number = line;
    std::vector<std::string> record = read_record(text, &at, &line);
    if (record.size() == 1 && record[0].empty()) continue;
    if (record.size() != header.size()) {
      out->dropped.push_back({number, "it has " + std::to_string(record.size()) +
                                          " fields instead of " + std::to_string(header.size())});
      continue;
    }
    out->rows.push_back({number, std::move(record[text_column]),
                         fields.with_labels ? std::move(record[label_column]) : std::string()});
  }
  return Status::ok();
}

}  // namespace

Result<std::string> read_data_text(const std::filesystem::path& path) {
  constexpr std::size_t kBytesMax = std::size_t{1} << 32;
  TROUPE_ASSIGN_OR_RETURN(std::string text, read_file(path, kBytesMax));
  if (const std::size_t valid = utf8_valid_prefix(text); valid != text.size())
    return bad_data(path, "is not UTF-8 at byte " + std::to_string(valid));
  return text;
}

std::vector<NumberedLine> lines_of(std::string_view text) {
  std::vector<NumberedLine> lines;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++number;
    at = end + 1;
    if (line.find_first_not_of(" \t\r") != line.npos) lines.push_back({number, line});
  }
  return lines;
}

std::string why_none(const std::vector<DroppedRow>& dropped) {
  if (dropped.empty()) return "; it is empty";
  return ": of line " + std::to_string(dropped[0].line) + ", " + dropped[0].why;
}

Result<DataRows> read_data_rows(const std::filesystem::path& path, const DataFields& fields) {
  TROUPE_ASSIGN_OR_RETURN(std::string text, read_data_text(path));
  if (text.find_first_not_of(" \t\r\n") == text.npos)
    return bad_data(path, "is empty; give a file with rows to train on");
  DataRows out;
  const std::string ending = path.extension().string();
  if (ending == ".jsonl" || ending == ".ndjson") {
    read_json_lines(text, fields, &out);
  } else if (ending == ".csv") {
    TROUPE_RETURN_IF_ERROR(read_csv(text, path, fields, &out));
  } else if (fields.with_labels) {
    return bad_data(path,
                    "is plain text, which has no labels; give a file that ends in .jsonl or .csv");
  } else {
    out.rows.push_back({1, std::move(text), {}});
  }
  if (out.rows.empty()) {
    const std::string first =
        out.dropped.empty()
            ? ""
            : ": of line " + std::to_string(out.dropped[0].line) + ", " + out.dropped[0].why;
    return bad_data(path, "has no row that can be trained on" + first);
  }
  return out;
}

}  // namespace troupe::model
