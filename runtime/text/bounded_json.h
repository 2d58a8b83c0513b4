#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <troupe/runtime/status.h>

// JSON of files that come from outside (safetensors headers, config.json, indices): parsed only
// after its size and depth are known to be sane. Pure. For the .cpp files of this room,
// and for verbs that read such files.

namespace troupe {

struct JsonLimits {
  std::size_t bytes_max = std::size_t{1} << 20;
  std::size_t depth_max = 32;
  // What mends a text that is no JSON: files of models were damaged on their way.
  const char* advice = "the file is damaged: fetch it again";
};

// `what` names the text in messages. Objects whose key occurs twice are refused: the readers of a
// file must not disagree about which one counts.
//   Errors: kBadData naming the byte (no JSON, not UTF-8, too deep, too large, a repeated key).
Result<nlohmann::json> parse_json(std::string_view text, const std::string& what,
                                  const JsonLimits& limits);

}  // namespace troupe
