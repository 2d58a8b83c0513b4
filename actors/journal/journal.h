#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <troupe/model/store/manifest.h>
#include <troupe/runtime/numerics/arithmetic_version.h>
#include <troupe/runtime/status.h>

// What a head must not forget: jobs with their input, results and log, the epochs that it may have
// used, the models that it had placed, and the streams that were open. It is one SQLite file with
// one connection and synchronous=FULL: each call is one transaction, and when a call returns ok,
// its effect is on the disk. No other room uses SQLite. Any thread may call, but calls wait for
// each other and for the disk: therefore only detached actors call, and the code that starts a
// head.
//
// Errors of every call: kBadData (the file is damaged), kResourceExhausted (the disk is full),
// kUnavailable (it cannot be written). Each is one sentence that names the file. After an error
// nothing of the call is in the file, unless the commit itself failed: then it may be there, and a
// repetition with the same id does no harm.
//
// Failpoints: journal.CALL.before_commit, .in_commit and .after_commit, where CALL is the name of
// the call.

namespace troupe::actors {

class Database;  // journal/database.h

enum class JobLife : std::uint8_t {
  kReceiving = 0,  // parts of the job's input are missing: it is neither acknowledged nor run
  kRunning = 1,    // the job has been acknowledged
  kDone = 2,
  kFailed = 3,
  kCancelled = 4,
};
const char* life_name(JobLife life);
inline bool is_over(JobLife life) { return life >= JobLife::kDone; }

struct JobRecord {
  std::uint64_t number = 0;  // rises with each submission
  std::string id;            // the client chooses it
  std::string owner;         // the client's identity; "" is the head's own user
  std::string kind, spec;    // JSON in the form of the kind
  std::uint32_t shards = 0, received = 0, finished = 0;
  std::uint32_t merged = 0;  // the number of leading shards that the result holds
  JobLife life = JobLife::kReceiving;
  std::int64_t submitted_ms = 0, ended_ms = 0;  // Unix time
  std::string error;
};

// Shards of a job that are being submitted: `inputs` are the shards from `first` on.
struct JobPiece {
  std::string id, owner, kind, spec;
  std::uint32_t shards = 0, first = 0;
  std::vector<std::string> inputs;
  // What the owner's jobs may take in the journal, with their outputs and results.
  std::uint64_t owner_bytes_max = UINT64_MAX;
};

struct JobLine {
  std::uint64_t sequence = 0;  // rises within a job
  std::int64_t at_ms = 0;
  std::string text;
};

// A model that was placed.
struct PlacedModel {
  std::uint64_t id = 0;  // the deployment's
  std::string model;     // its id
  std::string manifest;  // encoded
  std::string open;      // an encoded OpenModel, without its manifest
  std::vector<std::string> nodes;
};

struct StreamRecord {
  std::string id;
  std::string owner;         // the client's identity; "" is the head's own user
  std::string open, submit;  // encoded OpenModel (without its manifest) and Submit
  std::vector<std::int32_t> tokens;
  std::uint32_t arithmetic = kArithmeticVersion;  // the version by which the tokens were computed
};

// What happens to a stream: it begins, gets tokens of its answer (from the one with the index
// `first` on), or is over.
struct StreamUpdate {
  std::string id, owner;
  std::optional<StreamRecord> begins = std::nullopt;
  std::uint32_t first = 0;
  std::vector<std::int32_t> tokens = {};
  bool ends = false;
};

class Journal {
 public:
  // Opens the file, and makes it if it is absent.
  //   Errors: kFailedPrecondition (a newer release wrote it).
  static Result<std::unique_ptr<Journal>> open(const std::filesystem::path& file);
  // Makes a journal in memory, for a process that has no home to come back to.
  static Result<std::unique_ptr<Journal>> in_memory();
  ~Journal();
  const std::string& name() const;

  // journal.cpp: numbers that are never used twice, even after a restart.

  // Returns the first of `count` numbers of this name that were never given before; it is at least
  // `floor`.
  Result<std::uint64_t> reserve(const std::string& counter, std::uint64_t count,
                                std::uint64_t floor);

  // Removes the last traces of deleted rows from the disk (Database::scrub).
  Status scrub();

  // journal/jobs.cpp

  // Stores shards. Returns the job's record, whose life is kRunning (or later) when all shards are
  // there. A shard or a job that is there already changes nothing.
  // If the owner's jobs would take more than it may, its oldest ended jobs are deleted first.
  //   Errors: kAlreadyExists (the id belongs to another job), kInvalidArgument (shard numbers),
  //   kResourceExhausted (the owner's jobs that have not ended take all that it may).
  Result<JobRecord> receive(const JobPiece& piece, std::int64_t now_ms);
  // Returns all jobs, by number. receive() deletes ended jobs beyond the newest kEndedJobsMax.
  Result<std::vector<JobRecord>> jobs();
  Result<JobRecord> job(const std::string& id);  // kNotFound: no_job(id)
  // Returns the failure that says that there is no such job. Clients that may not know of a job get
  // it, too.
  static Status no_job(const std::string& id);
  Result<JobRecord> job_number(std::uint64_t job);
  Result<std::vector<std::uint32_t>> finished_shards(std::uint64_t job);
  Result<std::string> spec(std::uint64_t job);
  Result<std::string> input(std::uint64_t job, std::uint32_t shard);
  Result<std::string> output(std::uint64_t job, std::uint32_t shard);  // kNotFound: not yet
  Result<std::string> result(std::uint64_t job);  // as much of it as has been merged
  // Stores the output of a shard and its effect on the job in one transaction. Returns false, and
  // changes nothing, if the shard had an output already or the job is over. With `ends`, the job
  // becomes kDone.
  Result<bool> finish_shard(std::uint64_t job, std::uint32_t shard, const std::string& output,
                            const std::string& line, bool ends, std::int64_t now_ms);
  // Stores the merged result, which now holds the shards before `to`. Returns false if the result
  // did not hold exactly the shards before `from`.
  Result<bool> merge(std::uint64_t job, std::uint32_t from, std::uint32_t to,
                     const std::string& result, bool ends, std::int64_t now_ms);
  // Ends a job. Returns false if it is over already.
  Result<bool> end_job(std::uint64_t job, JobLife life, const std::string& error,
                       std::int64_t now_ms);
  Status add_line(std::uint64_t job, const std::string& line, std::int64_t now_ms);
  Result<std::vector<JobLine>> lines(std::uint64_t job, std::uint64_t after);

  // journal/placed.cpp: models that were placed, and streams that were open.

  Status save_model(const PlacedModel& placed);
  Status forget_model(std::uint64_t id);
  Result<std::vector<PlacedModel>> models();
  // Returns all models that were ever placed, as (id, encoded manifest).
  Result<std::vector<std::pair<std::string, std::string>>> manifests();
  // Gives a model another id and manifest, wherever it is named: an earlier release knew it by the
  // hash of its file. Without a manifest the model is forgotten, and is not placed again.
  Status rename_model(const std::string& model, const std::optional<model::Manifest>& manifest);
  // Applies updates, in their order, in one transaction, and keeps only the newest kOwnerStreamsMax
  // streams of an owner, and kStreamsMax of all. Returns for each whether it took effect:
  // kAlreadyExists for one that begins with an id that belongs to another owner's stream. Tokens
  // that are stored already are kept as they are, and a stream that was deleted does not come back.
  Result<std::vector<Status>> update_streams(const std::vector<StreamUpdate>& updates,
                                             std::int64_t now_ms);
  // Does the same for one update.
  Status save_stream(const StreamRecord& stream, std::int64_t now_ms);
  Status add_tokens(const std::string& id, const std::string& owner, std::uint32_t index,
                    const std::vector<std::int32_t>& tokens);
  Status forget_stream(const std::string& id, const std::string& owner);
  Result<StreamRecord> stream(const std::string& id);  // kNotFound: no_stream(id)
  static Status no_stream(const std::string& id);      // as no_job

  static constexpr std::size_t kEndedJobsMax = 1000;
  static constexpr std::size_t kStreamsMax = 4096;
  static constexpr std::size_t kOwnerStreamsMax = 1024;  // of one owner

 private:
  Journal() = default;
  static Result<std::unique_ptr<Journal>> make(const std::string& file);
  // Renames the model in the encoded OpenModels of a table, in a transaction.
  Status rename_opens(const char* table, const std::string& model, const std::string& id);
  Status begin_stream(const StreamRecord& stream, std::int64_t now_ms);
  Status append_tokens(const StreamUpdate& update);

  // Makes room for `bytes` more of this owner's jobs.
  Status make_room_for(const JobPiece& piece);

  std::mutex mutex_;
  std::unique_ptr<Database> db_;
  std::map<std::string, std::uint64_t>
      owner_bytes_;  // of the owners whose bytes have been added up
};

}  // namespace troupe::actors
