#include <algorithm>
#include <chrono>

#include <troupe/actors/jobs/jobs_actor.h>
#include <troupe/actors/jobs/shell.h>
#include <troupe/actors/message_handlers.h>
#include <troupe/runtime/clock.h>

namespace troupe::actors {
namespace jobs {
namespace {

// The pause between checks while a task waits for its next attempt, and otherwise, in case an event
// was missed.
constexpr std::chrono::milliseconds kTick{200}, kIdleTick{1000};

// Lets the jobs of an earlier run continue from where they were.
void restore(Self self, const Setup& setup) {
  const auto jobs = setup->journal->jobs();
  if (!jobs) {
    log(LogLevel::kError, "cannot go on with the jobs: " + jobs.message());
    return;
  }
  for (const JobRecord& job : *jobs) {
    if (job.life != JobLife::kRunning) continue;
    const auto finished = setup->journal->finished_shards(job.number);
    if (!finished) {
      log(LogLevel::kError, "cannot go on with job " + job.id + ": " + finished.message());
      continue;
    }
    self->state.state->add(job, *finished, job.kind != kGenerateKind);
    log(LogLevel::kInfo, "going on with job " + job.id + ": " + std::to_string(finished->size()) +
                             " of " + std::to_string(job.shards) + " shards are done");
  }
}

}  // namespace

void drive(Self self, const Setup& setup) {
  if (!self->state.service) return;
  for (const JobTask& task : self->state.state->assign(monotonic_us())) {
    if (task.worker == kCluster) {
      begin_answering(self, setup, task);
    } else {
      give_task(self, setup, task);
    }
  }
}

Result<bool> end_job(Self self, const Setup& setup, std::uint64_t job, JobLife life,
                     const std::string& error) {
  TROUPE_ASSIGN_OR_RETURN(const bool counts,
                          setup->journal->end_job(job, life, error, unix_now_ms()));
  for (const JobTask& task : self->state.state->end(job)) stop_answering(self, task.attempt);
  return counts;
}

void finish(Self self, const Setup& setup, std::uint64_t attempt, const std::string& output,
            const std::string& line) {
  JobState& state = *self->state.state;
  const JobTask* task = state.task(attempt);
  if (task == nullptr) return;
  const std::uint64_t job = task->job;
  const bool ends = state.ends_with(*task);
  const auto committed =
      setup->journal->finish_shard(job, task->from, output, line, ends, unix_now_ms());
  if (!committed) return fail(self, setup, attempt, committed.status());
  state.done(attempt);
  if (ends) state.end(job);
  drive(self, setup);
}

void finish_merge(Self self, const Setup& setup, std::uint64_t attempt, const std::string& result) {
  JobState& state = *self->state.state;
  const JobTask* task = state.task(attempt);
  if (task == nullptr) return;
  const std::uint64_t job = task->job;
  const bool ends = state.ends_with(*task);
  const auto committed =
      setup->journal->merge(job, task->from, task->to, result, ends, unix_now_ms());
  if (!committed) return fail(self, setup, attempt, committed.status());
  state.done(attempt);
  if (ends) state.end(job);
  drive(self, setup);
}

void set_back(Self self, const Setup& setup, const JobState::Setback& setback,
              const std::string& why) {
  const JobTask& task = setback.task;
  if (!setback.failed) {
    const auto ended = end_job(self, setup, task.job, JobLife::kFailed, setback.failed.message());
    if (!ended) log(LogLevel::kError, "cannot end a job that failed: " + ended.message());
    return;
  }
  const std::string what = task.merge ? "merging" : "shard " + std::to_string(task.from);
  const Status written =
      setup->journal->add_line(task.job, what + " is tried again: " + why, unix_now_ms());
  if (!written) log(LogLevel::kWarning, written.message());
}

void fail(Self self, const Setup& setup, std::uint64_t attempt, const Status& why) {
  const auto setback = self->state.state->fail(attempt, why, monotonic_us());
  if (setback) set_back(self, setup, *setback, why.message());
}

namespace {

void on_ask(Self self, const Setup& setup, const net::InFrame& frame, const JobAsk& ask) {
  const Asker asker{setup->owners ? setup->owners->of(frame.peer) : net::to_z85(frame.peer),
                    frame.role};
  const Status sent =
      setup->link->send(frame.peer, MessageType::kJobReply, answer(self, setup, ask, asker));
  if (!sent) log(LogLevel::kInfo, "cannot answer a client about its job: " + sent.message());
}

void on_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  static const MessageHandlers<Self, const Setup&> kHandlers = {
      on<JobAsk>(on_ask), on<JobKinds>(on_kinds), on<JobTaskDone>(on_task_done)};
  kHandlers.handle(*setup->link, frame, self, setup);
}

jobs_actor::behavior_type behavior(Self self, Setup setup) {
  // The attempts of this run are larger than those of earlier ones.
  const auto first = setup->journal->reserve("runs", 1, 1);
  if (!first) log(LogLevel::kError, first.message());
  self->state.state = std::make_unique<JobState>(
      first ? *first << 32 : static_cast<std::uint64_t>(unix_now_ms()) << 20);
  self->state.state->set_worker(kCluster, {kGenerateKind}, kClusterSlots);
  restore(self, setup);
  self->delayed_send(self, kTick, tick_atom::value);
  self->set_exit_handler([self](caf::exit_msg& message) {
    for (const auto& [attempt, one] : self->state.answering) {
      if (one.sink) self->send_exit(one.sink, caf::exit_reason::user_shutdown);
    }
    self->quit(message.reason);
  });
  return {
      [self, setup](const FramePtr& frame) { on_frame(self, setup, *frame); },
      [](const PeerEventPtr&) {},
      [self, setup](job_atom, const JobAskPtr& ask) {
        return std::make_shared<const JobReply>(answer(self, setup, *ask, Asker{}));
      },
      [self, setup](service_atom, const service_actor& service) {
        self->state.service = service;
        drive(self, setup);
      },
      [self, setup](const FinishedPtr& finished) { on_answer(self, setup, *finished); },
      [self, setup](halt_atom, const std::string& key) { lose_node(self, setup, key); },
      [self, setup](tick_atom) {
        drive(self, setup);
        self->delayed_send(self, self->state.state->next_try_us() ? kTick : kIdleTick,
                           tick_atom::value);
      },
  };
}

}  // namespace
}  // namespace jobs

jobs_actor spawn_jobs(caf::actor_system& system, JobsSetup setup) {
  const bool detached = setup.detached;
  auto shared = std::make_shared<const JobsSetup>(std::move(setup));
  if (!detached) return system.spawn(jobs::behavior, std::move(shared));
  return system.spawn<caf::detached>(jobs::behavior, std::move(shared));
}

}  // namespace troupe::actors
