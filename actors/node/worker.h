#pragma once

#include <atomic>
#include <memory>
#include <string>

#include <troupe/actors/actors.h>
#include <troupe/actors/link.h>
#include <troupe/model/transformer/stage.h>

// A stage's worker: admits steps of its epoch, keeps the sequences of its requests, computes, and
// hands the result to the next stage (or, sampled, to the engine). It lives in the mailbox of the
// device's actor, whose thread does all of this: on the way of a token every thread that must be
// woken costs 20 to 60 us.

namespace troupe::actors {

// Counters that the device's thread and the worker share; read by the node's heartbeat.
struct StageCounters {
  std::atomic<std::uint64_t> kv_bytes{0}, hidden_bytes_out{0}, positions_out{0};
  std::atomic<std::uint64_t> steps{0}, positions{0};
};

struct WorkerSetup {
  std::uint64_t epoch = 0;
  std::string node;                     // its name, for traces and the log
  std::shared_ptr<model::Stage> stage;  // shared with the jobs under way
  net::PublicKey head{};                // the engine's process
  net::PublicKey next{};                // the next stage's process; unused by the last stage
  device_actor device;
  std::shared_ptr<Link> link;
  std::shared_ptr<StageCounters> counters;
  // Set: its epoch has ended, nothing is computed any more.
  std::shared_ptr<const std::atomic<bool>> over = std::make_shared<const std::atomic<bool>>(false);
};
// Takes the stage's steps, for Link::attach_worker.
FrameTaker make_worker(WorkerSetup setup);

// Which sequences a worker holds and whether a step may touch them. Pure.
class WorkerState {
 public:
  explicit WorkerState(std::shared_ptr<model::Stage> stage) : stage_(std::move(stage)) {}
  // Makes and finds the sequences of a step's segments, in order. The returned handles keep them
  // alive until the job has run. kFailedPrecondition when a position does not follow, kBadData when
  // rows and token ids do not agree.
  Result<std::vector<std::shared_ptr<model::KvSequence>>> admit(const Step& step);
  // The tokens of a request up to `end`, as the steps have brought them, for penalties: prompt and
  // answer, whoever sampled them. A sequence that starts anew at position 0 brings all of them
  // again, so there is nothing here that a replay would lose. kFailedPrecondition when a step left
  // its tokens out of the log (its sampling had no penalties).
  Result<std::vector<model::TokenId>> log(std::uint64_t request, std::size_t end) const;
  void close(const std::vector<std::uint64_t>& requests);
  // What was closed or started anew since the last call; the caller frees it.
  std::vector<std::shared_ptr<model::KvSequence>> take_dropped();
  std::size_t sequences() const { return sequences_.size(); }

 private:
  struct Entry {
    std::shared_ptr<model::KvSequence> sequence;
    std::size_t next_position = 0;    // after every step admitted so far
    std::vector<model::TokenId> log;  // of the positions before it, where penalties need them
  };
  std::shared_ptr<model::Stage> stage_;
  std::map<std::uint64_t, Entry> sequences_;
  std::vector<std::shared_ptr<model::KvSequence>> dropped_;
};

}  // namespace troupe::actors
