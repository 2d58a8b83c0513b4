#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <troupe/actors/actors.h>
#include <troupe/actors/link.h>
#include <troupe/model/transformer/stage.h>

// A stage's worker: it admits the steps of its epoch, keeps the sequences of its requests,
// computes, and sends the result to the next stage (or the sampled tokens to the engine). It runs
// on the device actor's thread: every other thread that had to be woken would cost a token 20 to 60
// us.

namespace troupe::actors {

// Counters that the worker updates on the device's thread and the node's heartbeat reads.
struct StageCounters {
  std::atomic<std::uint64_t> kv_bytes{0}, hidden_bytes_out{0}, positions_out{0};
  std::atomic<std::uint64_t> steps{0}, positions{0};
};

struct WorkerSetup {
  std::uint64_t epoch = 0;
  std::string node;                     // the node's name, for traces and the log
  std::shared_ptr<model::Stage> stage;  // shared with the jobs that are queued
  net::PublicKey head{};                // the engine's process
  net::PublicKey next{};                // the next stage's process; unused by the last stage
  device_actor device;
  std::shared_ptr<Link> link;
  std::shared_ptr<StageCounters> counters;
  // Set when the epoch has ended: nothing is computed any more.
  std::shared_ptr<const std::atomic<bool>> over = std::make_shared<const std::atomic<bool>>(false);
  // Called on the device's thread when its accelerator has failed for good. The step is then not
  // answered: the node leaves, and the engine has it computed elsewhere. Null: the step fails.
  std::function<void(const Status& why)> on_broken;
};
// Returns the function that takes the stage's steps, for Link::attach_worker.
FrameTaker make_worker(WorkerSetup setup);

// The sequences that a worker holds; decides whether a step may touch them. Pure.
class WorkerState {
 public:
  explicit WorkerState(std::shared_ptr<model::Stage> stage) : stage_(std::move(stage)) {}
  // Does what a step says besides its rows, in the order of messages/step.h: ends sequences, gives
  // blocks back, begins sequences and takes their blocks. Returns the sequences of its segments, in
  // order; the handles keep them alive until the job has run.
  // Rows of drafted ids that did not come true are forgotten: the step continues from the position
  //   before them.
  //   Errors: kFailedPrecondition (a position does not follow; a shared block is not there),
  //   kBadData (the numbers of rows, token ids and blocks do not go together), kResourceExhausted
  //   (memory)
  Result<std::vector<std::shared_ptr<model::KvSequence>>> admit(const Step& step);
  // Returns the tokens of a request up to `end`, prompt and answer, as the steps brought them;
  // penalties need them. A replay loses nothing: a sequence that begins anew brings all of its
  // tokens again.
  //   Errors: kFailedPrecondition (the log lacks the tokens of a step that sampled without
  //   penalties)
  Result<std::vector<model::TokenId>> log(std::uint64_t request, std::size_t end) const;
  std::size_t sequences() const { return sequences_.size(); }

 private:
  struct Entry {
    std::shared_ptr<model::KvSequence> sequence;
    std::size_t next_position = 0;    // after every step that was admitted
    std::vector<model::TokenId> log;  // tokens before next_position, if penalties need them
    std::size_t accepted = 0;         // positions before which no id is drafted
    std::uint32_t turns = 0;          // segments that were admitted
    bool is_followed_by(const StepSegment& segment) const;
  };
  Status begin(const StepSegment& segment, Entry* entry);
  // Prepares a segment's sequence so that its rows can be computed.
  Result<std::shared_ptr<model::KvSequence>> admit(const StepSegment& segment,
                                                   std::span<const model::TokenId> ids);
  std::shared_ptr<model::Stage> stage_;
  std::map<std::uint64_t, Entry> sequences_;
};

}  // namespace troupe::actors
