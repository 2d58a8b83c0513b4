#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <troupe/actors/actors.h>
#include <troupe/actors/jobs/generate_spec.h>
#include <troupe/actors/jobs/job_state.h>
#include <troupe/actors/jobs/jobs_setup.h>
#include <troupe/actors/messages/rights.h>
#include <troupe/runtime/log.h>

// What the files of the jobs actor share: its state, and the functions that each file offers the
// others. Only actors/jobs/ includes it; everything runs on the actor's thread.

namespace troupe::actors::jobs {

// The worker that answers prompts: the head itself, which has a deployment compute them.
inline constexpr const char* kCluster = "the cluster";
// The number of shards that it works on at once. They have a few lines each, so that this many fill
// the steps of several stages.
inline constexpr std::size_t kClusterSlots = 4;

// A shard of lines that is being answered.
struct Answering {
  JobTask task;
  GenerateSpec spec;
  std::string owner;               // of the job; its lines share keys and values with this owner's
  std::uint64_t first = 0;         // the number of its first line
  std::vector<std::string> ids;    // one for each line, as JSON
  std::vector<std::string> lines;  // of the output; "" while they are awaited
  std::size_t missing = 0, failed = 0;
  token_sink sink;
};

struct Shell {
  std::unique_ptr<JobState> state;
  service_actor service;
  std::map<std::uint64_t, Answering> answering;  // by attempt
  std::map<std::uint64_t, std::pair<std::uint64_t, std::size_t>>
      requests;  // by request: its attempt and its line
};
using Self = jobs_actor::stateful_pointer<Shell>;
using Setup = std::shared_ptr<const JobsSetup>;

// jobs_actor.cpp

// Gives waiting tasks to workers with free slots.
void drive(Self self, const Setup& setup);
// Takes the result of a task, which is committed and then counted.
void finish(Self self, const Setup& setup, std::uint64_t attempt, const std::string& output,
            const std::string& line);
void finish_merge(Self self, const Setup& setup, std::uint64_t attempt, const std::string& result);
// Carries out the consequence of a task that ended without a result, because of `why`.
void set_back(Self self, const Setup& setup, const JobState::Setback& setback,
              const std::string& why);
// Takes the failure of an attempt: the task is tried again later, or the job ends.
void fail(Self self, const Setup& setup, std::uint64_t attempt, const Status& why);
// Ends a job. Returns false if it was over already.
Result<bool> end_job(Self self, const Setup& setup, std::uint64_t job, JobLife life,
                     const std::string& error);

// client_queries.cpp answers what clients ask about jobs, and carries out what they order.

JobReply answer(Self self, const Setup& setup, const JobAsk& ask, const Asker& asker);

// run_generate.cpp runs the kind `generate`.

void begin_answering(Self self, const Setup& setup, const JobTask& task);
void on_answer(Self self, const Setup& setup, const Finished& finished);
void stop_answering(Self self, std::uint64_t attempt);

// give_tasks.cpp gives tasks to nodes whose programs register kinds.

// Returns a worker's display name.
std::string node_name(const std::string& worker);
void give_task(Self self, const Setup& setup, const JobTask& task);
void on_kinds(Self self, const Setup& setup, const net::InFrame& frame, const JobKinds& message);
void on_task_done(Self self, const Setup& setup, const net::InFrame& frame,
                  const JobTaskDone& done);
// `worker` holds the bytes of its key.
void lose_node(Self self, const Setup& setup, const std::string& worker);

}  // namespace troupe::actors::jobs
