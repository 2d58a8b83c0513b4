#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include <troupe/model/jinja/value.h>

// Values as text: Python's str and repr, and json.dumps. Pure.

namespace troupe::model::jinja {

// Returns what {{ value }} prints.
//   Errors: kResourceExhausted if it is nested too deeply or grows past `bytes_max`.
Result<std::string> to_text(const Value& value, std::size_t bytes_max);

// Returns Python's repr, which shows a string with quotes and escapes; with `ascii`, all characters
// beyond ASCII are escaped.
//   Errors: as to_text.
Result<std::string> to_repr(const Value& value, std::size_t bytes_max, bool ascii = false);
// Returns Python's repr of a float: the shortest digits that read back as it, with ".0" if it is
// integral.
std::string real_text(double value);

struct JsonStyle {
  bool lines = false;  // each item on a line of its own, after `indent` for each level
  std::string indent;
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
  bool ascii = false;  // \u escapes for all other characters
};
// Prints a value as Python's json.dumps does.
//   Errors: kBadData for a value that JSON does not have; kResourceExhausted as to_text.
Result<std::string> to_json(const Value& value, const JsonStyle& style, std::size_t bytes_max);

}  // namespace troupe::model::jinja
