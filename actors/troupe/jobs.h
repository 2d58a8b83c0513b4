#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/runtime/status.h>

// Jobs: what a program submits, what the cluster reports about it, and the functions that map and
// merge shards. Plain values.

namespace troupe {

// Work that a cluster does by itself, whether or not a client waits: shards that are mapped where
// there is room. The head keeps each result in its journal. A submitted job survives the end of its
// client, of nodes and of the head.
struct JobRequest {
  // 1 to 64 letters, digits, '.', '_' or '-'; if "", it is drawn at random. Submitting a job again
  // under its id does not make a second job.
  std::string id;
  std::string kind;  // "generate", or one that programs of the cluster's nodes register
  // JSON in the form of the kind. For "generate", see actors/jobs/generate_spec.h; "model" has the
  // meaning of GenerateRequest::model, and the model is loaded before the job is submitted.
  std::string spec = "{}";
  // At most 4 MiB each. For "generate", generate_shards() makes them.
  std::vector<std::string> shards;
};
struct JobStatus {
  std::string id, kind;
  std::string spec;          // JSON text
  std::uint64_t number = 0;  // rises with each submission to this cluster
  // "running", "waiting" (no worker has any of it now), "done", "failed" or "cancelled"
  std::string state;
  std::uint32_t shards = 0;    // in all
  std::uint32_t received = 0;  // by the head
  std::uint32_t running = 0, finished = 0;
  std::int64_t submitted_unix_ms = 0;
  std::optional<std::int64_t> ended_unix_ms;  // absent if it is not over
  std::string waits_for;                      // what a job without a worker needs; "" if nothing
  Status error;                               // why it failed
  bool over() const { return state == "done" || state == "failed" || state == "cancelled"; }
};
// What happened to a job's shards, one line each.
struct JobLine {
  std::uint64_t sequence = 0;  // rises within a job
  std::int64_t unix_ms = 0;
  std::string text;
};
struct JobLog {
  std::vector<JobLine> lines;
  bool over = false;  // no more lines will come
};
// The job that a shard belongs to, and its place in it.
struct JobContext {
  std::string job, spec;
  std::uint32_t shard = 0, shards = 0;
};
// Maps bytes to bytes, at most 4 MiB each. Map and merge run on a thread of the library, one call
// at a time in a process; a map may be called twice for one shard, on two nodes, and only one of
// the results counts. A shard that fails with kUnavailable, kResourceExhausted, kDeadlineExceeded
// or kCancelled is tried again; any other error ends the job.
using JobMap =
    std::function<Result<std::string>(const std::string& shard, const JobContext& context)>;
// Merges the results of neighbouring shards, left to right in the order of the shards.
using JobMerge =
    std::function<Result<std::string>(const std::string& left, const std::string& right)>;

// Packs the lines of a JSONL file into shards of a "generate" job; leaves out empty lines.
std::vector<std::string> generate_shards(std::string_view jsonl);
// Returns the number, from 1, of the line that holds prompt `prompt`, counted from 0 as shards
// count them; the number of lines if there are fewer prompts. Pure.
std::size_t line_of_prompt(std::string_view jsonl, std::uint64_t prompt);

}  // namespace troupe
