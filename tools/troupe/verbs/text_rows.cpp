#include <algorithm>
#include <string_view>
#include <utility>

#include <troupe/model/training/data_rows.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/input.h>
#include <troupe/tools/troupe/verbs/text_rows.h>

namespace troupe::tools {

Status check_input(const TextInput& input) {
  if (input.has_text != !input.file.empty()) return Status::ok();
  return Status(Code::kInvalidArgument,
                "give a text as an argument or a file with -f, one of the two");
}

bool has_fields(const std::string& path) {
  return path.ends_with(".jsonl") || path.ends_with(".ndjson") || path.ends_with(".csv");
}

std::vector<std::string> lines_of_text(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
    at = end + 1;
  }
  return lines;
}

Result<std::vector<std::string>> read_texts(const TextInput& input) {
  TROUPE_RETURN_IF_ERROR(check_input(input));
  if (input.has_text && input.text != "-") return std::vector<std::string>{input.text};
  if (input.has_text || input.file == "-") {
    TROUPE_ASSIGN_OR_RETURN(const std::string text, read_stdin());
    return lines_of_text(text);
  }
  if (!has_fields(input.file)) {
    TROUPE_ASSIGN_OR_RETURN(const std::string text, read_text(input.file));
    return lines_of_text(text);
  }
  const model::DataFields fields{input.text_field, "label", /*with_labels=*/false};
  TROUPE_ASSIGN_OR_RETURN(model::DataRows read, model::read_data_rows(input.file, fields));
  if (!read.dropped.empty())
    return Status(Code::kBadData, "line " + std::to_string(read.dropped[0].line) + " of " +
                                      input.file + " cannot be read: " + read.dropped[0].why);
  std::vector<std::string> texts;
  for (model::DataRow& row : read.rows) texts.push_back(std::move(row.text));
  return texts;
}

}  // namespace troupe::tools
