#include <chrono>
#include <exception>
#include <map>
#include <thread>

#include <troupe/actors/jobs/task_actor.h>
#include <troupe/actors/messages/lease.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

namespace troupe::actors {
namespace {

struct TaskShell {
  std::map<std::string, RegisteredKindPtr> kinds;
};
using Self = task_actor::stateful_pointer<TaskShell>;
using Setup = std::shared_ptr<const TaskSetup>;

void say_kinds(Self self, const Setup& setup) {
  JobKinds message;
  for (const auto& [name, kind] : self->state.kinds) message.kinds.push_back(name);
  if (message.kinds.empty()) return;
  const Status sent = setup->link->send(setup->head, MessageType::kJobKinds, message);
  if (!sent) log(LogLevel::kDebug, "will tell the head of job kinds later: " + sent.message());
}

Result<std::string> compute(const RegisteredKind& kind, const JobTaskOrder& order) {
  if (order.items.empty()) return Status(Code::kInvalidArgument, "the task has no bytes");
  try {
    if (!order.merge) {
      const JobContext context{order.job, order.spec, order.shard, order.shards};
      return kind.map(order.items.front(), context);
    }
    std::string merged = order.items.front();
    for (std::size_t i = 1; i < order.items.size(); ++i) {
      TROUPE_ASSIGN_OR_RETURN(merged, kind.merge(merged, order.items[i]));
    }
    return merged;
  } catch (const std::exception& error) {
    return Status(Code::kInternal,
                  "the program's own function threw: " + std::string(error.what()));
  } catch (...) {
    return Status(Code::kInternal,
                  "the program's own function threw something that is not a std::exception");
  }
}

// Waits for room in a full queue. A head that takes nothing for the length of a lease considers
// this node dead, and gives the shard to another one.
void hand_in(const Setup& setup, const JobTaskDone& done) {
  const std::int64_t until = monotonic_us() + kDeadUs;
  for (;;) {
    const Status sent = setup->link->send(setup->head, MessageType::kJobTaskDone, done);
    if (sent) return;
    if (sent.code() != Code::kResourceExhausted || monotonic_us() > until) {
      return log(LogLevel::kWarning, "cannot hand in a shard: " + sent.message());
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void work(Self self, const Setup& setup, const JobTaskOrder& order) {
  const auto kind = self->state.kinds.find(order.kind);
  auto output = kind == self->state.kinds.end()
                    ? Result<std::string>(Status(
                          Code::kUnavailable,
                          "this node's program does not register the kind '" + order.kind + "'"))
                    : compute(*kind->second, order);
  if (output && output->size() > kShardBytesMax) {
    output =
        Status(Code::kInvalidArgument, "the result has " + std::to_string(output->size()) +
                                           " bytes, of at most " + std::to_string(kShardBytesMax));
  }
  JobTaskDone done;
  done.attempt = order.attempt;
  done.outcome = output.status();
  if (output) done.output = std::move(*output);
  hand_in(setup, done);
}

task_actor::behavior_type behavior(Self self, Setup setup) {
  return {
      [self, setup](const FramePtr& frame) {
        if (frame->peer != setup->head) return;
        if (static_cast<MessageType>(frame->header.type) != MessageType::kJobTask) return;
        const auto order = decode_body<JobTaskOrder>(*setup->link, *frame);
        if (order) work(self, setup, *order);
      },
      [](const PeerEventPtr&) {},
      [self, setup](job_atom, const RegisteredKindPtr& kind) {
        self->state.kinds[kind->name] = kind;
        say_kinds(self, setup);
      },
      [self, setup](join_atom) { say_kinds(self, setup); },
  };
}

}  // namespace

task_actor spawn_tasks(caf::actor_system& system, TaskSetup setup) {
  return system.spawn<caf::detached>(behavior, std::make_shared<const TaskSetup>(std::move(setup)));
}

}  // namespace troupe::actors
