#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <troupe/actors/journal/journal.h>
#include <troupe/runtime/status.h>

// The jobs' decider: it decides which shard goes to which worker next, what a result or a loss
// means, and when a job has ended. Pure: it has no actor, file or clock. The time is an argument,
// and the caller commits what must be durable before it calls done() or end(). After a restart,
// everything is rebuilt from the journal: finished shards stay finished, and the others begin anew.
//
// A worker is a name, the kinds that it maps, and the number of tasks that it takes at once. A task
// is one attempt, whose number is never used twice, so that a late answer to an earlier attempt is
// recognized.

namespace troupe::actors {

struct JobTask {
  std::uint64_t attempt = 0;
  std::uint64_t job = 0;
  std::string kind, worker;
  bool merge = false;
  // To map is to compute the shard `from`. To merge is to combine the result of the shards before
  // `from`, if there are any, with those in [from, to), in this order.
  std::uint32_t from = 0, to = 0;
};

class JobState {
 public:
  // The number of failures of one shard after which its job fails, and the number of times that the
  // shard may lose its worker.
  static constexpr std::size_t kFailuresMax = 12, kLossesMax = 3;
  static constexpr std::uint32_t kMergedAtOnceMax = 16;

  // `first_attempt` is larger than any attempt of an earlier run of this head.
  explicit JobState(std::uint64_t first_attempt) : next_attempt_(first_attempt) {}

  // Adds a job that runs. `merges` says whether its outputs become one result.
  void add(const JobRecord& job, const std::vector<std::uint32_t>& finished, bool merges);
  // Says that the job is over. Returns its tasks, which the workers may drop.
  std::vector<JobTask> end(std::uint64_t job);
  bool has(std::uint64_t job) const { return jobs_.contains(job); }

  // Says that a worker has come, or takes other kinds than before.
  void set_worker(const std::string& name, std::set<std::string> kinds, std::size_t slots);

  // The consequence of a task that ended without a result.
  struct Setback {
    JobTask task;
    Status failed;  // if it is not ok, the job must fail with it
  };
  // Says that the worker is gone: its tasks go to others.
  std::vector<Setback> lose_worker(const std::string& name, std::int64_t now_us);
  // Says that the task has failed. If another attempt may succeed (after a missing node or model, a
  // full queue, a deadline), the task is tried again after a pause; any other failure ends its job
  // at once. Returns nothing for an attempt that is over.
  std::optional<Setback> fail(std::uint64_t attempt, const Status& why, std::int64_t now_us);

  // Gives tasks to workers with free slots, earlier jobs and lower shards first.
  std::vector<JobTask> assign(std::int64_t now_us);
  // Returns the time at which assign() may find more without an event; absent if only an event can
  // help.
  std::optional<std::int64_t> next_try_us() const;
  // Shortens a merge to the shards before `to`, because more do not fit in one message.
  void shorten(std::uint64_t attempt, std::uint32_t to);

  // Returns the task that a result is for; nullptr if the task is over, or was given to another
  // worker.
  const JobTask* task(std::uint64_t attempt) const;
  // True if the job ends with this task.
  bool ends_with(const JobTask& task) const;
  // Says that the task's result is in the journal.
  void done(std::uint64_t attempt);

  // Returns the number of tasks under way.
  std::size_t running(std::uint64_t job) const;
  // Returns true if one of the workers takes this kind.
  bool has_worker(const std::string& kind) const;

 private:
  struct Trouble {
    std::size_t failures = 0;
    std::vector<std::string> lost;  // the workers that had it
    std::int64_t not_before_us = 0;
  };
  struct Job {
    std::string kind;
    std::uint32_t shards = 0, merged = 0;
    bool merges = false, merging = false;
    std::set<std::uint32_t> waiting;   // unfinished shards that no worker has
    std::set<std::uint32_t> finished;  // not merged yet, if the kind merges
    std::uint32_t finished_count = 0;
    std::map<std::uint32_t, Trouble> troubles;  // by shard; kMerge stands for merging
  };
  struct Worker {
    std::set<std::string> kinds;
    std::size_t slots = 0, busy = 0;
  };
  static constexpr std::uint32_t kMerge = UINT32_MAX;

  std::optional<JobTask> next_of(std::uint64_t number, Job& job, std::int64_t now_us);
  // Takes the task from its worker. Its shards wait again, until `not_before_us`.
  JobTask put_back(std::uint64_t attempt);
  Trouble& trouble_of(const JobTask& task);

  std::map<std::uint64_t, Job> jobs_;
  std::map<std::string, Worker> workers_;
  std::map<std::uint64_t, JobTask> tasks_;
  std::uint64_t next_attempt_;
};

}  // namespace troupe::actors
