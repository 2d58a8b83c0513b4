#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/runtime/status.h>

// Jobs: what a program submits, what the cluster says of it, and the functions that map and merge
// shards. Plain values.

namespace troupe {

// Work that a cluster does by itself, whether or not anybody waits: shards that are mapped where
// there is room, each result kept by the head, in its journal. A submitted job survives the end of
// its client, of nodes and of the head.
struct JobRequest {
  // 1 to 64 letters, digits, '.', '_' or '-'; "": drawn. Submitting a job again under its id makes
  // no second one.
  std::string id;
  std::string kind;  // "generate", or one that programs of the cluster's nodes register
  // JSON, as the kind has it. Of "generate": actors/jobs/generate_spec.h, but for "model", which is
  // what GenerateRequest::model is; it is loaded before the job is handed in.
  std::string spec = "{}";
  // At most 4 MiB each. Of "generate": made by generate_shards().
  std::vector<std::string> shards;
};
struct JobStatus {
  std::string id, kind, spec;
  // "running", "waiting" (nobody works on it now), "done", "failed" or "cancelled"
  std::string state;
  std::uint32_t shards = 0, finished = 0;
  Status error;  // why it failed
  bool over() const { return state == "done" || state == "failed" || state == "cancelled"; }
};
// Where a shard that is mapped belongs.
struct JobContext {
  std::string job, spec;
  std::uint32_t shard = 0, shards = 0;
};
// Bytes to bytes, 4 MiB at most each. Both run on a thread of the library, one call at a time in a
// process; a map may be called twice for one shard, on two nodes, of which one result counts. An
// error with the code kUnavailable, kResourceExhausted, kDeadlineExceeded or kCancelled is tried
// again, any other ends the job.
using JobMap =
    std::function<Result<std::string>(const std::string& shard, const JobContext& context)>;
// Results of neighbouring shards to that of both, left to right in the order of the shards.
using JobMerge =
    std::function<Result<std::string>(const std::string& left, const std::string& right)>;

// Lines of a JSONL file as shards of a "generate" job; empty lines are left out.
std::vector<std::string> generate_shards(std::string_view jsonl);

}  // namespace troupe
