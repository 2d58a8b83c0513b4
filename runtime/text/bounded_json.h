#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <troupe/runtime/status.h>

// JSON that comes from outside (files of models, specifications of jobs, what a head answers):
// parsed only after its size and depth are known to be sane, since the library's dump() and copies
// recurse. Pure.

namespace troupe {

struct JsonLimits {
  std::size_t bytes_max = std::size_t{1} << 20;
  std::size_t depth_max = 32;
  // What to do about a text that is refused.
  const char* advice = "mend the file, or take another one";
  // Reads what Python's json writes and reads: NaN, Infinity, -Infinity and numbers beyond a double
  // become texts of these letters, so that a reader that needs the number refuses it, and of two
  // equal keys the last one counts.
  bool python = false;
};

// `what` names the text in messages. Objects whose key occurs twice are refused, unless
// `limits.python`: the readers of a file must not disagree about which one counts.
//   Errors: kBadData naming the byte (no JSON, not UTF-8, too deep, too large, a repeated key).
Result<nlohmann::json> parse_json(std::string_view text, const std::string& what,
                                  const JsonLimits& limits);
// Does the same, but keeps the fields of objects in the order in which they were written.
Result<nlohmann::ordered_json> parse_ordered_json(std::string_view text, const std::string& what,
                                                  const JsonLimits& limits);
// The check alone, for a text that is then read in another way.
Status check_json(std::string_view text, const std::string& what, const JsonLimits& limits);
// The check of depth alone, for a text that need not be JSON but is shown as such if it is.
Status check_json_depth(std::string_view text, const std::string& what, const JsonLimits& limits);

}  // namespace troupe
