#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <troupe/actors/journal/journal.h>
#include <troupe/runtime/status.h>

// The jobs' decider: which shard goes to which worker next, what a result or a loss means, when a
// job has ended. Pure: no actor, file or clock; time comes as an argument, and what must be durable
// is committed by the caller before it says done() or end() here. Everything is rebuilt from the
// journal after a restart: finished shards stay finished, the others begin anew.
//
// A worker is a name with the kinds that it maps and how many tasks it takes at once. A task is one
// try: its attempt number is never used twice, so that a late answer of an earlier try is known.

namespace troupe::actors {

struct JobTask {
  std::uint64_t attempt = 0;
  std::uint64_t job = 0;
  std::string kind, worker;
  bool merge = false;
  // Map: the shard `from`. Merge: the result of the shards before `from`, if there are any, and
  // those in [from, to), in this order.
  std::uint32_t from = 0, to = 0;
};

class JobState {
 public:
  // Failures of one shard after which its job fails, and losses of the worker that had it.
  static constexpr std::size_t kFailuresMax = 12, kLossesMax = 3;
  static constexpr std::uint32_t kMergedAtOnceMax = 16;

  // `first_attempt`: larger than any attempt of an earlier run of this head.
  explicit JobState(std::uint64_t first_attempt) : next_attempt_(first_attempt) {}

  // A job that runs. `merges`: its outputs become one result.
  void add(const JobRecord& job, const std::vector<std::uint32_t>& finished, bool merges);
  // It is over; its tasks are the ones that workers may drop.
  std::vector<JobTask> end(std::uint64_t job);
  bool has(std::uint64_t job) const { return jobs_.contains(job); }

  // A worker is there, or takes other kinds than before.
  void set_worker(const std::string& name, std::set<std::string> kinds, std::size_t slots);

  // What became of a task that ended without a result.
  struct Setback {
    JobTask task;
    Status failed;  // not ok: its job is to fail with this
  };
  // The worker is gone: its tasks go to others.
  std::vector<Setback> lose_worker(const std::string& name, std::int64_t now_us);
  // The task has failed. What may be different another time (a node or a model that is not there, a
  // full queue, a deadline) is tried again after a pause; anything else fails its job at once.
  // Nothing for an attempt that is over.
  std::optional<Setback> fail(std::uint64_t attempt, const Status& why, std::int64_t now_us);

  // Tasks for workers with free slots, earlier jobs and lower shards first.
  std::vector<JobTask> assign(std::int64_t now_us);
  // When assign() may find more by itself; nothing: only after an event.
  std::optional<std::int64_t> next_try_us() const;
  // The merge takes only the shards before `to`: more do not fit in one message.
  void shorten(std::uint64_t attempt, std::uint32_t to);

  // The task that a result is for; nullptr when it is over, or was given to somebody else.
  const JobTask* task(std::uint64_t attempt) const;
  // Whether the job ends with this task.
  bool ends_with(const JobTask& task) const;
  // Its result is in the journal.
  void done(std::uint64_t attempt);

  // Tasks under way.
  std::size_t running(std::uint64_t job) const;
  // Some worker that is there takes this kind.
  bool has_worker(const std::string& kind) const;

 private:
  struct Trouble {
    std::size_t failures = 0;
    std::vector<std::string> lost;  // workers
    std::int64_t not_before_us = 0;
  };
  struct Job {
    std::string kind;
    std::uint32_t shards = 0, merged = 0;
    bool merges = false, merging = false;
    std::set<std::uint32_t> waiting;   // shards that nobody has and that are not finished
    std::set<std::uint32_t> finished;  // not merged yet, where it merges
    std::uint32_t finished_count = 0;
    std::map<std::uint32_t, Trouble> troubles;  // by shard; kMerge: of merging
  };
  struct Worker {
    std::set<std::string> kinds;
    std::size_t slots = 0, busy = 0;
  };
  static constexpr std::uint32_t kMerge = UINT32_MAX;

  std::optional<JobTask> next_of(std::uint64_t number, Job& job, std::int64_t now_us);
  // Takes the task from its worker; what it was to do waits again, until `not_before_us`.
  JobTask put_back(std::uint64_t attempt);
  Trouble& trouble_of(const JobTask& task);

  std::map<std::uint64_t, Job> jobs_;
  std::map<std::string, Worker> workers_;
  std::map<std::uint64_t, JobTask> tasks_;
  std::uint64_t next_attempt_;
};

}  // namespace troupe::actors
