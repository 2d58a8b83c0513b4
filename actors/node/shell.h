#pragma once

#include <map>
#include <set>
#include <vector>

#include <troupe/actors/cluster_state.h>
#include <troupe/actors/engine.h>
#include <troupe/actors/node.h>
#include <troupe/runtime/log.h>

// What the node's files share: its state, and what each of them does for the others. Only
// actors/node.cpp and actors/node/ include it; everything runs on the actor's thread.

namespace troupe::actors::node {

// A stage that is being fetched and loaded, or that runs. Retired: its epoch is over, it waits for
// the one that takes over its weights.
struct StageHere {
  LoadStage order;
  std::shared_ptr<model::Stage> stage;
  std::shared_ptr<StageCounters> counters = std::make_shared<StageCounters>();
  std::shared_ptr<std::atomic<bool>> over = std::make_shared<std::atomic<bool>>(false);
  worker_actor worker;
  std::uint64_t fetched_bytes = 0;
  bool next_connected = false, answered = false, retired = false;
  std::int64_t way_lost_us = 0;  // 0: the way to the next stage has not broken
  std::int64_t loaded_us = 0;
  Status way_trouble{Code::kUnavailable, "it does not answer"};
};

enum class Phase { kEnrolling, kConnecting, kGreeting, kMember, kStopped };

struct NodeShell {
  Phase phase = Phase::kConnecting;
  std::string name, cluster_name;
  std::map<std::uint64_t, StageHere> stages;
  std::uint64_t beats = 0;
  NodeStats past;  // of stages that are gone
  std::int64_t started_us = 0, enrol_said_us = 0;
  int failures = 0;  // to reach the head, before it was joined
  bool ever_joined = false, said_waiting = false, enrolled = false;
  std::set<net::PublicKey> open_ways;  // peers whose activations channel we reached
  Status last_trouble;
};
using Self = node_actor::stateful_pointer<NodeShell>;
using Setup = std::shared_ptr<const NodeSetup>;

// The lease, and what this node has; also sent when that changes, before the head acts on it.
void send_heartbeat(Self self, const Setup& setup);

// stages.cpp: what the head orders.

void on_load(Self self, const Setup& setup, LoadStage order);
void on_prefetch(const Setup& setup, const Prefetch& prefetch);
void on_unload(Self self, const Setup& setup, const UnloadStage& unload);
void on_stage_result(Self self, const Setup& setup, const StageResult& result);
void drop_all_stages(Self self, const Setup& setup);
// The activations channel to a peer opened or was lost.
void on_way(Self self, const Setup& setup, const net::PublicKey& peer, const Status& why,
            bool open);
// Tells the head of stages whose way to the next one broke, or does not open.
void look_after_ways(Self self, const Setup& setup);

}  // namespace troupe::actors::node
