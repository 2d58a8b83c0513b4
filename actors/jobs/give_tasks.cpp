#include <troupe/actors/jobs/shell.h>
#include <troupe/runtime/clock.h>

// Gives shards of the kinds that programs of the cluster register to their nodes, which are the
// workers, named by their keys. A shard is sent as one message, and its result comes back as one.

namespace troupe::actors::jobs {
namespace {

// One task is computed while another one waits, so that no node waits for the network.
constexpr std::size_t kTasksOfNode = 2;

std::string worker_of(const net::PublicKey& key) {
  return {reinterpret_cast<const char*>(key.data()), key.size()};
}

net::PublicKey key_of(const std::string& worker) {
  net::PublicKey key{};
  std::copy_n(worker.begin(), std::min(worker.size(), key.size()), key.begin());
  return key;
}

// Makes the order for a task. A merge takes as many shards as fit into one message.
Result<JobTaskOrder> order_of(Self self, const Setup& setup, JobTask task) {
  Journal& journal = *setup->journal;
  TROUPE_ASSIGN_OR_RETURN(const JobRecord job, journal.job_number(task.job));
  JobTaskOrder order;
  order.attempt = task.attempt;
  order.kind = job.kind;
  order.job = job.id;
  order.spec = job.spec;
  order.merge = task.merge;
  order.shard = task.from;
  order.shards = job.shards;
  if (!task.merge) {
    TROUPE_ASSIGN_OR_RETURN(std::string input, journal.input(task.job, task.from));
    order.items.push_back(std::move(input));
    return order;
  }
  std::size_t bytes = 0;
  if (task.from > 0) {
    TROUPE_ASSIGN_OR_RETURN(std::string merged, journal.result(task.job));
    bytes = merged.size();
    order.items.push_back(std::move(merged));
  }
  for (std::uint32_t shard = task.from; shard < task.to; ++shard) {
    TROUPE_ASSIGN_OR_RETURN(std::string output, journal.output(task.job, shard));
    bytes += output.size();
    if (shard > task.from && bytes > kJobMessageBytesMax) {
      self->state.state->shorten(task.attempt, shard);
      break;
    }
    order.items.push_back(std::move(output));
  }
  return order;
}

}  // namespace

std::string node_name(const std::string& worker) {
  return worker == kCluster ? worker : "node " + net::key_id(key_of(worker));
}

void give_task(Self self, const Setup& setup, const JobTask& task) {
  const auto order = order_of(self, setup, task);
  if (!order) return fail(self, setup, task.attempt, order.status());
  const Status sent = setup->link->send(key_of(task.worker), MessageType::kJobTask, *order);
  if (!sent) fail(self, setup, task.attempt, sent);
}

void on_kinds(Self self, const Setup& setup, const net::InFrame& frame, const JobKinds& message) {
  std::set<std::string> kinds;
  for (const std::string& kind : message.kinds) {
    if (kinds.size() < 64 && kind.size() <= 64 && kind != kGenerateKind) kinds.insert(kind);
  }
  self->state.state->set_worker(worker_of(frame.peer), std::move(kinds), kTasksOfNode);
  drive(self, setup);
}

void on_task_done(Self self, const Setup& setup, const net::InFrame& frame,
                  const JobTaskDone& done) {
  const JobTask* task = self->state.state->task(done.attempt);
  // The answer belongs to an earlier attempt.
  if (task == nullptr || task->worker != worker_of(frame.peer)) return;
  if (!done.outcome.is_ok()) return fail(self, setup, done.attempt, done.outcome.status());
  if (task->merge) return finish_merge(self, setup, done.attempt, done.output);
  finish(self, setup, done.attempt, done.output,
         "shard " + std::to_string(task->from) + ": mapped by " + node_name(task->worker));
}

void lose_node(Self self, const Setup& setup, const std::string& worker) {
  for (const JobState::Setback& setback : self->state.state->lose_worker(worker, monotonic_us())) {
    set_back(self, setup, setback, node_name(worker) + " is gone");
  }
  drive(self, setup);
}

}  // namespace troupe::actors::jobs
