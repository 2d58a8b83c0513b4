#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <troupe/runtime/numerics/arithmetic_version.h>
#include <troupe/runtime/status.h>

// What a head must not forget: jobs with their input, results and log, the epochs that it may have
// used, the models that it had placed, the streams that were open. One SQLite file, one connection,
// synchronous=FULL: what a call has returned ok for is on the disk, and each call is one
// transaction. The only place with SQLite. Any thread may call; calls wait for each other and for
// the disk, so that only detached actors call, and who starts a head.
//
// Errors of every call: kBadData (the file is damaged), kResourceExhausted (the disk is full),
// kUnavailable (it cannot be written), each one sentence that names the file. After an error
// nothing of the call is in the file, unless the commit itself failed: then it may be, and asking
// again with the same id does no harm.
//
// Failpoints: journal.CALL.before_commit, .in_commit and .after_commit, with the name of the call.

namespace troupe::actors {

class Database;  // journal/database.h

enum class JobLife : std::uint8_t {
  kReceiving = 0,  // parts of its input are missing: it is not acknowledged, and nothing of it runs
  kRunning = 1,    // acknowledged
  kDone = 2,
  kFailed = 3,
  kCancelled = 4,
};
const char* life_name(JobLife life);
inline bool is_over(JobLife life) { return life >= JobLife::kDone; }

struct JobRecord {
  std::uint64_t number = 0;  // rises with each submission
  std::string id;            // chosen by who submits it
  std::string owner;         // the identity of who submitted it; "": the head's own user
  std::string kind, spec;    // spec: JSON, as the kind has it
  std::uint32_t shards = 0, received = 0, finished = 0;
  std::uint32_t merged = 0;  // leading shards that the result holds
  JobLife life = JobLife::kReceiving;
  std::int64_t submitted_ms = 0, ended_ms = 0;  // unix time
  std::string error;
};

// Shards of a job on their way in: `inputs` are those from `first` on.
struct JobPiece {
  std::string id, owner, kind, spec;
  std::uint32_t shards = 0, first = 0;
  std::vector<std::string> inputs;
};

struct JobLine {
  std::uint64_t sequence = 0;  // rises within a job
  std::int64_t at_ms = 0;
  std::string text;
};

// A model that was placed.
struct PlacedModel {
  std::uint64_t id = 0;  // of the deployment
  std::string model;     // its sha256
  std::string manifest;  // encoded
  std::string open;      // an encoded OpenModel, without its manifest
  std::vector<std::string> nodes;
};

struct StreamRecord {
  std::string id;
  std::string owner;         // the identity of who asked; "": the head's own user
  std::string open, submit;  // encoded OpenModel (without its manifest) and Submit
  std::vector<std::int32_t> tokens;
  std::uint32_t arithmetic = kArithmeticVersion;  // by which the tokens were computed
};

class Journal {
 public:
  // Makes the file when absent. kFailedPrecondition: a newer Troupe wrote it.
  static Result<std::unique_ptr<Journal>> open(const std::filesystem::path& file);
  // Of a process without a home to come back to: the same, and gone with it.
  static Result<std::unique_ptr<Journal>> in_memory();
  ~Journal();
  const std::string& name() const;

  // journal.cpp: numbers that are never used twice, across restarts.

  // The first of `count` numbers of this name that nobody was given before; at least `floor`.
  Result<std::uint64_t> reserve(const std::string& counter, std::uint64_t count,
                                std::uint64_t floor);

  // journal/jobs.cpp

  // Takes shards in; the job's record afterwards, whose life is kRunning (or later) when all are
  // there. A shard or a job that is there already changes nothing.
  //   Errors: kAlreadyExists (the id is that of another job), kInvalidArgument (shard numbers).
  Result<JobRecord> receive(const JobPiece& piece, std::int64_t now_ms);
  // By number. Ended jobs beyond the newest kEndedJobsMax are forgotten at receive().
  Result<std::vector<JobRecord>> jobs();
  Result<JobRecord> job(const std::string& id);  // kNotFound: no_job(id)
  // That there is no such job: also for those who may not know of it.
  static Status no_job(const std::string& id);
  Result<JobRecord> job_number(std::uint64_t job);
  Result<std::vector<std::uint32_t>> finished_shards(std::uint64_t job);
  Result<std::string> spec(std::uint64_t job);
  Result<std::string> input(std::uint64_t job, std::uint32_t shard);
  Result<std::string> output(std::uint64_t job, std::uint32_t shard);  // kNotFound: not yet
  Result<std::string> result(std::uint64_t job);                       // what was merged so far
  // The output of a shard and what it does to the job, at once. False: it had one already, or the
  // job is over: nothing has changed. `ends`: the job is kDone with it.
  Result<bool> finish_shard(std::uint64_t job, std::uint32_t shard, const std::string& output,
                            const std::string& line, bool ends, std::int64_t now_ms);
  // The result holds the shards before `to` now; false when it did not hold exactly those before
  // `from`.
  Result<bool> merge(std::uint64_t job, std::uint32_t from, std::uint32_t to,
                     const std::string& result, bool ends, std::int64_t now_ms);
  // False: it is over already.
  Result<bool> end_job(std::uint64_t job, JobLife life, const std::string& error,
                       std::int64_t now_ms);
  Status add_line(std::uint64_t job, const std::string& line, std::int64_t now_ms);
  Result<std::vector<JobLine>> lines(std::uint64_t job, std::uint64_t after);

  // journal/placed.cpp: models that were placed, and streams that were open.

  Status save_model(const PlacedModel& placed);
  Status forget_model(std::uint64_t id);
  Result<std::vector<PlacedModel>> models();
  // Of all models that were ever placed: (sha256, encoded manifest).
  Result<std::vector<std::pair<std::string, std::string>>> manifests();
  // Keeps the newest kStreamsMax. kAlreadyExists: the id is that of another owner's stream.
  Status save_stream(const StreamRecord& stream, std::int64_t now_ms);
  // More tokens of its answer, from the one with this index on; a stream that is gone stays gone.
  Status add_tokens(const std::string& id, const std::string& owner, std::uint32_t index,
                    const std::vector<std::int32_t>& tokens);
  Status forget_stream(const std::string& id, const std::string& owner);
  Result<StreamRecord> stream(const std::string& id);  // kNotFound: no_stream(id)
  static Status no_stream(const std::string& id);      // as no_job

  static constexpr std::size_t kEndedJobsMax = 1000;
  static constexpr std::size_t kStreamsMax = 1024;

 private:
  Journal() = default;
  static Result<std::unique_ptr<Journal>> make(const std::string& file);
  Status set_up();
  // `body` inside of a transaction, committed when it is ok. `call` names the failpoints.
  Status transact(const char* call, const std::function<Status()>& body);

  std::mutex mutex_;
  std::unique_ptr<Database> db_;
};

}  // namespace troupe::actors
