#pragma once

#include <map>
#include <set>
#include <vector>

#include <troupe/actors/messages/lease.h>
#include <troupe/actors/node/node_setup.h>
#include <troupe/actors/node/worker.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

// What the node's files share: its state, and what each of them does for the others. Only
// actors/node/node.cpp and actors/node/ include it; everything runs on the actor's thread.

namespace troupe::actors::node {

// A stage that is being fetched and loaded, or that runs. Retired: its epoch is over, it waits for
// the one that takes over its weights.
struct StageHere {
  LoadStage order;
  std::shared_ptr<model::Stage> stage;
  std::shared_ptr<StageCounters> counters = std::make_shared<StageCounters>();
  std::shared_ptr<std::atomic<bool>> over = std::make_shared<std::atomic<bool>>(false);
  std::uint64_t fetched_bytes = 0;
  bool next_connected = false, answered = false, retired = false;
  std::int64_t way_lost_us = 0;  // 0: the way to the next stage has not broken
  std::int64_t loaded_us = 0;
  Status way_trouble{Code::kUnavailable, "it does not answer"};
};

// What this node has been asked to measure; one at a time, the newest counts.
struct Measuring {
  Measure order;  // its peers: the ways that are left, the one under way last
  Measured result;
  bool computes = false;
  std::int64_t way_since_us = 0, probe = 0;  // when this way began; when the last was asked
  std::vector<double> rounds_us;
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
  std::optional<Measuring> measuring;
  Status last_trouble;
};
using Self = node_actor::stateful_pointer<NodeShell>;
using Setup = std::shared_ptr<const NodeSetup>;

// The lease, and what this node has; also sent when that changes, before the head acts on it.
void send_heartbeat(Self self, const Setup& setup);

// stages.cpp: what the head orders.

void on_load(Self self, const Setup& setup, LoadStage order);
void on_prefetch(Self self, const Setup& setup, const Prefetch& prefetch);
void on_unload(Self self, const Setup& setup, const UnloadStage& unload);
void on_stage_result(Self self, const Setup& setup, const StageResult& result);
void drop_all_stages(Self self, const Setup& setup);
// The activations channel to a peer opened or was lost.
void on_way(Self self, const Setup& setup, const net::PublicKey& peer, const Status& why,
            bool open);
// The head is dialled where it was joined: its own idea of its address may not fit from here.
net::Endpoint endpoint_of(const Setup& setup, const PeerAddress& peer);
// Has the model's header in the store; `done` is called once, on the bulk actor's thread.
void fetch_header(const Setup& setup, const model::Manifest& manifest,
                  const std::vector<PeerAddress>& sources,
                  std::function<void(Status, std::uint64_t bytes)> done);
// Tells the head of stages whose way to the next one broke, or does not open.
void look_after_ways(Self self, const Setup& setup);

// measure.cpp: what layers would cost here, what the ways to others carry.

void on_measure(Self self, const Setup& setup, Measure order);
void on_measured(Self self, const Setup& setup, const Measured& measured);
void on_probe(Self self, const Setup& setup, const net::InFrame& frame, const Probe& probe);
void on_probe_answer(Self self, const Setup& setup, const net::InFrame& frame,
                     const ProbeAnswer& answer);
// A way opened, or time has passed.
void look_after_measuring(Self self, const Setup& setup);

}  // namespace troupe::actors::node
