#pragma once

#include <string>
#include <vector>

#include <troupe/actors/messages/requests.h>
#include <troupe/runtime/status.h>
#include <troupe/runtime/text/bounded_json.h>

// The job kind `generate`, which answers each prompt of a JSONL file: what a specification and a
// line ask for, and how an answer is written. Pure. Clients use it to check a job before they
// submit it, and the head uses it in run_generate.cpp, which runs such jobs.
//
//   specification  {"model": "model:HEX", "model_name"?, "layers"?, "kv"?, "activations"?,
//                  "max_tokens"?, "raw"?, "system"?, "stop"?: [text], "context"?, and the sampling
//                  parameters by the names that `troupe run` has, "_" for "-"}
//   line           {"prompt": text} or {"messages": [{"role","content"}]} or {"prompt_ids": [n]},
//                  and of its own "id"?, "seed"?, "max_tokens"?
//   result         {"index": of the line, "id"?, "text", "token_ids", "finish_reason"}, or
//                  {"index", "id"?, "error": {"code","message"}}

namespace troupe::actors {

inline constexpr const char* kGenerateKind = "generate";

struct GenerateSpec {
  OpenModel open;       // without a manifest
  Submit base;          // what all lines have in common
  bool seeded = false;  // whether the specification has a seed
  std::string model_name;
};
// Parses a specification.
//   Errors: kInvalidArgument (names the field and the value, or says that the text is not JSON
//   within bounds).
Result<GenerateSpec> parse_generate_spec(const std::string& json);
// Does the same with an object that was parsed with bounds.
Result<GenerateSpec> read_generate_spec(const nlohmann::json& object);
// Writes a text that parse_generate_spec() reads as the same specification. Fields whose value is
// the default are left out.
std::string to_json(const GenerateSpec& spec);
// Returns the bounds of every specification, whatever its kind.
const JsonLimits& spec_limits();

struct GenerateLine {
  Submit submit;   // its deployment and request are 0
  std::string id;  // as JSON; "" if the line has none
};
// Parses a line.
//   Errors: kInvalidArgument (what is wrong with the line; the caller adds which line it is).
Result<GenerateLine> parse_generate_line(const GenerateSpec& spec, const std::string& line);

// These write one line of a result, with its newline. `id` is that of the GenerateLine.
std::string generate_result(std::uint64_t index, const std::string& id, const Finished& finished);
std::string generate_error(std::uint64_t index, const std::string& id, const Status& why);

// Returns the bytes of a shard: the number of its first line, as a line of JSON, then its lines.
std::string pack_lines(std::uint64_t first, const std::vector<std::string>& lines);
struct PackedLines {
  std::uint64_t first = 0;
  std::vector<std::string> lines;
};
Result<PackedLines> unpack_lines(const std::string& shard);

}  // namespace troupe::actors
