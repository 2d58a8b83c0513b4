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
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

// What the jobs' files share: their state, and what each of them does for the others. Only
// actors/jobs/ includes it; everything runs on the actor's thread.

namespace troupe::actors::jobs {

// The worker that answers prompts: the head itself, which has a deployment compute them.
inline constexpr const char* kCluster = "the cluster";
// Shards of it under way, of a few lines each: enough to fill the steps of several stages.
inline constexpr std::size_t kClusterSlots = 4;

// A shard of lines that is being answered.
struct Answering {
  JobTask task;
  GenerateSpec spec;
  std::string owner;               // of the job: its lines share keys and values with the owner's
  std::uint64_t first = 0;         // number of its first line
  std::vector<std::string> ids;    // of the lines, as JSON
  std::vector<std::string> lines;  // of the output; "" while they wait
  std::size_t missing = 0, failed = 0;
  token_sink sink;
};

struct Shell {
  std::unique_ptr<JobState> state;
  service_actor service;
  std::map<std::uint64_t, Answering> answering;                             // by attempt
  std::map<std::uint64_t, std::pair<std::uint64_t, std::size_t>> requests;  // -> attempt, line
};
using Self = jobs_actor::stateful_pointer<Shell>;
using Setup = std::shared_ptr<const JobsSetup>;

std::int64_t unix_ms();

// jobs_actor.cpp

// Gives what waits to workers that have room.
void drive(Self self, const Setup& setup);
// A result: committed, then counted.
void finish(Self self, const Setup& setup, std::uint64_t attempt, const std::string& output,
            const std::string& line);
void finish_merge(Self self, const Setup& setup, std::uint64_t attempt, const std::string& result);
// What a task that ended without a result means for its job, because of `why`.
void set_back(Self self, const Setup& setup, const JobState::Setback& setback,
              const std::string& why);
// A try that failed: again later, or the job ends.
void fail(Self self, const Setup& setup, std::uint64_t attempt, const Status& why);
// Ends a job; false when it was over already.
Result<bool> end_job(Self self, const Setup& setup, std::uint64_t job, JobLife life,
                     const std::string& error);

// client_queries.cpp: what clients want to know and to have done.

JobReply answer(Self self, const Setup& setup, const JobAsk& ask, const Asker& asker);

// run_generate.cpp

void begin_answering(Self self, const Setup& setup, const JobTask& task);
void on_answer(Self self, const Setup& setup, const Finished& finished);
void stop_answering(Self self, std::uint64_t attempt);

// give_tasks.cpp: nodes whose programs register kinds.

// How people call a worker.
std::string node_name(const std::string& worker);
void give_task(Self self, const Setup& setup, const JobTask& task);
void on_kinds(Self self, const Setup& setup, const net::InFrame& frame, const JobKinds& message);
void on_task_done(Self self, const Setup& setup, const net::InFrame& frame,
                  const JobTaskDone& done);
// `worker`: its key's bytes.
void lose_node(Self self, const Setup& setup, const std::string& worker);

}  // namespace troupe::actors::jobs
