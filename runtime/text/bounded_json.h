#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <troupe/runtime/status.h>

// JSON that comes from outside: files of models, specifications of jobs, answers of a head. It is
// parsed only after its size and depth were checked, because the library's dump() and copies
// recurse. Pure.

namespace troupe {

struct JsonLimits {
  std::size_t bytes_max = std::size_t{1} << 20;
  std::size_t depth_max = 32;
  // The advice to the person whose text is refused.
  const char* advice = "repair the file, or take another one";
  // Reads what Python's json writes and reads: NaN, Infinity, -Infinity and numbers beyond a double
  // become strings with the same characters, so that a reader that needs the number refuses the
  // string. Of two equal keys, the last one counts.
  bool python = false;
};

// `what` names the text in messages. An object in which a key occurs twice is refused, unless
// `limits.python` is set: the programs that read a file must not disagree about which of the two
// counts.
//   Errors: kBadData (not JSON, not UTF-8, too deep, too large, or a repeated key; the text names
//   the byte).
Result<nlohmann::json> parse_json(std::string_view text, const std::string& what,
                                  const JsonLimits& limits);
// Does the same, but keeps the fields of objects in the order in which they were written.
Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text, const std::string& what,
                                                  const JsonLimits& limits);
// Only checks a text, which is then read by other means.
Status check_json(std::string_view text, const std::string& what, const JsonLimits& limits);
// Only checks the depth of a text that need not be JSON, but is shown as JSON if it is.
Status check_json_depth(std::string_view text, const std::string& what, const JsonLimits& limits);

}  // namespace troupe
