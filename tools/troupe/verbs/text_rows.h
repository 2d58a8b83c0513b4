#pragma once

#include <string>
#include <vector>

#include <troupe/runtime/status.h>

// The texts that a verb is given: as an argument, as lines, or in the rows of a file.

namespace troupe::tools {

struct TextInput {
  std::string text, file, text_field = "text";
  bool has_text = false;  // an argument was given
};

// Checks that exactly one of the two is given.
//   Errors: kInvalidArgument.
Status check_input(const TextInput& input);
// Says whether the rows of a file have fields: .jsonl, .ndjson and .csv.
bool has_fields(const std::string& path);
// Returns the lines of a text that are not empty.
std::vector<std::string> lines_of_text(const std::string& text);
// Reads the texts.
//   Errors: as check_input; kBadData naming the first line that cannot be read.
Result<std::vector<std::string>> read_texts(const TextInput& input);

}  // namespace troupe::tools
