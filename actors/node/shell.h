#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include <troupe/actors/messages/lease.h>
#include <troupe/actors/node/measured_costs.h>
#include <troupe/actors/node/node_setup.h>
#include <troupe/actors/node/worker.h>
#include <troupe/runtime/log.h>

// What the files of the node share: its state, and the functions that each file offers the others.
// Only files in actors/node/ include it; everything runs on the actor's thread.

namespace troupe::actors::node {

// A stage that is being fetched, is being loaded, or runs. A retired stage belongs to an epoch that
// is over: it waits for the stage that takes over its weights.
struct StageHere {
  LoadStage order;
  std::shared_ptr<model::Stage> stage;
  std::shared_ptr<StageCounters> counters = std::make_shared<StageCounters>();
  std::shared_ptr<std::atomic<bool>> over = std::make_shared<std::atomic<bool>>(false);
  std::uint64_t fetched_bytes = 0;
  bool next_connected = false, answered = false, retired = false;
  std::int64_t lost_us = 0;  // when the connection to the next stage broke; 0 if it has not
  std::int64_t loaded_us = 0;
  Status connection_trouble{Code::kUnavailable, "it does not answer"};
};

// What this node has been asked to measure. There is one measurement at a time, the newest.
struct Measuring {
  Measure order;  // its peers are those that are left; the last one is being measured
  Measured result;
  bool computes = false;
  std::int64_t connection_since_us = 0;  // when measuring this connection began
  std::int64_t probe = 0;                // when the last probe was sent
  std::vector<double> rounds_us;
};

enum class Phase { kEnrolling, kConnecting, kGreeting, kMember, kStopped };

struct NodeShell {
  Phase phase = Phase::kConnecting;
  std::string name, cluster_name;
  std::map<std::uint64_t, StageHere> stages;
  std::uint64_t beats = 0;
  NodeStats past;  // totals of the stages that are gone
  std::int64_t started_us = 0, enrol_sent_us = 0, hello_sent_us = 0;
  std::uint32_t greeting = 0;  // the number of the last greeting
  int failures = 0;            // failed attempts to reach the head before this node joined
  bool ever_joined = false, logged_waiting = false, enrolled = false;
  std::set<net::PublicKey> allowed_peers;    // peers that the head allowed since the last greeting
  std::set<net::PublicKey> connected_peers;  // peers that we reached on the activations channel
  std::optional<Measuring> measuring;
  std::shared_ptr<MeasuredCosts> measured;  // null until this node is asked to measure
  Status last_trouble;
};
using Self = node_actor::stateful_pointer<NodeShell>;
using Setup = std::shared_ptr<const NodeSetup>;

// Sends the lease's heartbeat with this node's stats; also sent when a stage is ready, before the
// head is told.
void send_heartbeat(Self self, const Setup& setup);

// stages.cpp carries out the head's orders.

void on_load(Self self, const Setup& setup, LoadStage order);
void on_prefetch(Self self, const Setup& setup, const Prefetch& prefetch);
void on_unload(Self self, const Setup& setup, const UnloadStage& unload);
void on_stage_result(Self self, const Setup& setup, const StageResult& result);
void drop_all_stages(Self self, const Setup& setup);
// Called when the connection to a peer on the activations channel opened or was lost.
void on_connection(Self self, const Setup& setup, const net::PublicKey& peer, const Status& why,
                   bool open);
// Returns where to dial a peer. The head is dialled at the address through which this node joined:
// the address that the head gives for itself may not work from here.
net::Endpoint endpoint_of(const Setup& setup, const PeerAddress& peer);
// Fetches the model's header into the store if it is missing; `done` is called once, on the bulk
// actor's thread.
void fetch_header(const Setup& setup, const model::Manifest& manifest,
                  const std::vector<PeerAddress>& sources,
                  std::function<void(Status, std::uint64_t bytes)> done);
// Tells the head about stages whose connection to the next one broke or does not open.
void check_connections(Self self, const Setup& setup);

// measure.cpp measures what layers would cost here and what the connections to other nodes carry.

void on_measure(Self self, const Setup& setup, Measure order);
void on_measured(Self self, const Setup& setup, const Measured& measured);
void on_probe(Self self, const Setup& setup, const net::InFrame& frame, const Probe& probe);
void on_probe_answer(Self self, const Setup& setup, const net::InFrame& frame,
                     const ProbeAnswer& answer);
// Called when a connection opened, and regularly.
void check_measuring(Self self, const Setup& setup);

}  // namespace troupe::actors::node
