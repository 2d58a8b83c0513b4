#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include <troupe/actors/actors.h>
#include <troupe/actors/engine/asker_use.h>
#include <troupe/actors/engine/engine_state.h>
#include <troupe/actors/link.h>
#include <troupe/model/chat/chat_template.h>

// A deployment's engine: prompts in, tokens out. Turns a Submit into token ids (chat template,
// tokenizer), drives EngineState, sends its steps to the first stage and its events to the sinks.
// Lives in the head's process, so that the token log outlives any worker: when one is lost it waits
// until the layers lie elsewhere, and replays.

namespace troupe::actors {

// The state of an engine for `status`; only the engine writes it, and any thread may read it.
struct EngineCounters {
  std::atomic<std::uint64_t> running{0},
      queued{0};  // requests with a step that was sent, and those without one yet
  std::atomic<std::uint64_t> tokens{0};  // of answers
  // The number of steps that may be on the path at once, and of those that are on it now.
  std::atomic<std::uint64_t> credits{0}, credits_in_use{0};
  // Of the block table: the number of blocks in sequences, of idle blocks, and of blocks that there
  // may be (0: no bound); the number of positions that were looked up and found; the number of
  // requests that gave way.
  std::atomic<std::uint64_t> blocks_in_use{0}, blocks_idle{0}, blocks_max{0};
  std::atomic<std::uint64_t> prefix_queried{0}, prefix_found{0}, preemptions{0};
  std::atomic<std::uint64_t> drafted{0}, accepted{0};  // ids that were drafted; that came true
  PublishedUses askers;                                // published a few times a second
};

// Counts what all engines of a head did when nodes were lost. It outlives each of them.
struct ReplayCounters {
  std::atomic<std::uint64_t> replays{0}, replayed_tokens{0}, quarantined{0};
};

// Where the layers lie.
struct EnginePlacement {
  std::uint64_t epoch = 0;
  net::PublicKey first_stage{};
  EngineLimits limits;
};

struct EngineSetup {
  std::uint64_t deployment = 0;  // its id
  EnginePlacement placement;
  std::shared_ptr<const model::Tokenizer> tokenizer;
  std::shared_ptr<const model::ChatTemplate> chat_template;  // null: the model has none
  std::shared_ptr<Link> link;
  std::shared_ptr<EngineCounters> counters = std::make_shared<EngineCounters>();
  std::shared_ptr<ReplayCounters> replay_counters = std::make_shared<ReplayCounters>();
  coordinator_actor coordinator;  // told when the engine has nothing to do (idle_atom)
  // Called after each change of the decider, on the engine's thread, for tests. May be empty.
  std::function<void(const EngineState&)> watch;
};
engine_actor spawn_engine(caf::actor_system& system, EngineSetup setup);

}  // namespace troupe::actors
