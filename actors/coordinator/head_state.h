#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <troupe/actors/actors.h>
#include <troupe/actors/cluster_state/budgets.h>
#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/actors/cluster_state/owners.h>
#include <troupe/actors/coordinator/audit.h>
#include <troupe/actors/coordinator/events.h>
#include <troupe/actors/coordinator/session.h>
#include <troupe/actors/coordinator/setup.h>
#include <troupe/actors/engine/engine.h>

// The state of the head's actor: its decider, and what the actor has to remember about each
// deployment, client and open request. Only actors/coordinator/ includes it; everything runs on the
// actor's thread. The functions here are pure: the time is an argument.

namespace troupe::actors::coordinator {

// How the process that opened a model gets its answer: by a promise in this process, or by a frame.
using Reply = std::function<void(const ModelReady&)>;

struct Client {
  token_sink session;
  bool local = false;  // it belongs to the head's own user
  net::Role role = net::Role::kClient;
  std::string address;  // from which it was connected when it said Hello
  // The time by which a client that enrolled must say Hello; absent once it has.
  std::optional<std::int64_t> hello_until_us;
  std::shared_ptr<RequestNames> names = std::make_shared<RequestNames>();
};

// A model that was opened stays loaded for this long even if --keep-alive is shorter, so that the
// first request still finds it.
constexpr std::int64_t kOpenGraceUs = 5'000'000;

// A deployment's engine, from the first time that the deployment serves.
struct RunningEngine {
  engine_actor actor;
  std::shared_ptr<EngineCounters> counters;
  std::uint64_t epoch = 0;  // the epoch of the placement that the engine knows
  std::size_t context_max = 0;
  std::uint64_t positions_max = 0;  // as the engine was told last
  std::uint64_t submitted = 0;      // the number of requests that were sent to the engine
  std::uint64_t idle_after = 0;     // the engine had nothing to do after this number of requests
  std::uint64_t awaited = 0;        // answered openings whose requests have not come yet
  std::int64_t used_us = 0;         // when it was last opened, asked or idle again

  bool idle() const { return submitted == idle_after; }
  // Returns the number of answered openings whose requests are still expected.
  std::uint64_t expected(std::int64_t now_us) const;
  // Returns the number of requests that the engine has, or is about to have.
  double load(std::int64_t now_us) const;
  void opened(std::int64_t now_us);
  void asked(std::int64_t now_us);
  // Returns how much longer the model stays loaded; nothing while the engine works, or if the model
  // stays forever.
  std::optional<std::int64_t> left_us(std::optional<std::int64_t> keep_alive_us,
                                      std::int64_t now_us) const;
};

// The time at which copies of a deployment's layers are made. Before that, the nodes let each other
// in.
struct CopiesDue {
  std::uint64_t epoch = 0;
  std::int64_t at_us = 0;
  bool allowed = false;
  bool asked = false;     // all nodes were asked; one may still report that it could not copy
  unsigned failures = 0;  // the number of rounds in which a node could not copy
};

// What the actor remembers about one deployment, beside its entry in ClusterState.
struct DeploymentRun {
  std::vector<Reply> waiting;           // replies to openings that wait until the deployment serves
  std::optional<RunningEngine> engine;  // absent until the deployment has served once
  std::int64_t ordered_us = 0;          // when its nodes were last sent orders
  // The time since which the deployment is loaded although its first stage cannot be reached.
  std::optional<std::int64_t> unreachable_since_us;
  // There is a source of weights that the loads under way do not know.
  bool has_new_source = false;
  std::optional<CopiesDue> copies;
  // No replica is made before this time, which is kept for the eldest replica.
  std::int64_t no_replica_until_us = 0;
};

// The head's connection to a node's activations channel. Steps go to first stages on it, and it
// shows whether a node can be dialled.
struct StageConnection {
  bool open = false;
  std::optional<std::int64_t> lost_us;  // when the connection broke; it may be open again
  std::string dialled_host;  // the address at which the node was dialled when it said Hello
  std::uint16_t dialled_port = 0;
};

// An opening that waits for the header of its model.
struct Opening;
// Called instead of placing the model, when the header has arrived or cannot be had.
using Instead = std::function<void(const Status&, const Opening&)>;
struct Opening {
  OpenModel open;
  std::vector<model::LayerRange> ranges;
  std::vector<net::PublicKey> sources;
  std::vector<Reply> replies;
  Instead instead;
  bool measured = false;  // the nodes have been asked what the model's layers would cost
  net::PublicKey by{};    // the process that asked
};

// Nodes that are asked what a model's layers would cost them. Only one measurement runs at a time,
// because two would slow each other down.
struct Measurement {
  Measure order;
  bool begun = false;
  std::set<net::PublicKey> allowing, awaited;
  // How each awaited node had joined when it was told: incarnation and greeting (NodeRecord).
  std::map<net::PublicKey, std::pair<std::uint64_t, std::uint32_t>> told;
  std::set<net::PublicKey> unasked;  // awaited nodes that must follow another node on their host
  // Each callback is called once, on the actor's thread, when all nodes have answered or time is
  // up.
  struct Waiter {
    std::int64_t until_us = 0;
    std::function<void()> then;
  };
  std::vector<Waiter> waiters;
  std::int64_t until_us = 0;  // answers after this time do not count
};

// After a restart, the head places nothing until the nodes that held its models are back, or some
// time has passed.
struct Restoring {
  std::vector<std::pair<std::uint64_t, OpenModel>> models;  // by the deployments' earlier ids
  std::set<net::PublicKey> nodes;                           // the nodes that should come back
  std::int64_t until_us = 0;
  std::vector<std::function<void()>> held;  // openings that wait until then
};

struct HeadState {
  coordinator_actor::pointer self = nullptr;  // the actor whose state this is
  std::shared_ptr<const CoordinatorSetup> setup;
  ClusterState cluster{1};
  EventLog events;
  AuditLog audit;
  std::set<net::PublicKey> audited;             // identities that have connected in this run
  std::map<std::uint64_t, DeploymentRun> runs;  // by the deployment's id
  std::map<net::PublicKey, StageConnection> connections;
  // Nodes that said Hello and are being dialled back before they are welcomed (reach.h).
  struct Joining {
    Hello hello;
    std::uint64_t incarnation = 0;
    std::int64_t since_us = 0;
    bool old_loss = false;  // the next failure belongs to attempts at the old address
  };
  std::map<net::PublicKey, Joining> joining;
  std::int64_t dialled_again_us = 0;
  std::shared_ptr<ReplayCounters> replay_counters = std::make_shared<ReplayCounters>();

  std::map<net::PublicKey, Client> clients;
  std::shared_ptr<Owners> owners;  // the identities behind the clients' connections
  OwnerCounts opens, opens_bytes;  // of clients, until they have their answers
  net::KeyPace enrolments;         // by door key
  // Revoked nodes, and when their frames are dropped.
  std::map<net::PublicKey, std::int64_t> revoking;

  std::map<std::uint64_t, Opening> openings;  // by a number of the head's own
  std::uint64_t next_opening = 1;
  std::map<std::uint64_t, Measurement> measurements;  // by number
  std::uint64_t next_measurement = 1;
  std::optional<Restoring> restoring;
  // The manifests of all models that were ever placed, by model: no client needs to bring them
  // again.
  std::map<std::string, model::Manifest> manifests;
  // The manifests of whole files in the head's own store, by model. They take precedence over those
  // of clients.
  std::map<std::string, model::Manifest> own_manifests;

  net::PublicKey own_key() const { return setup->link->self(); }
  // Returns nullptr if the deployment has no engine.
  RunningEngine* engine_of(std::uint64_t id);
  const RunningEngine* engine_of(std::uint64_t id) const;
  // True if the deployment's engine knows where the layers lie now.
  bool is_serving(const Deployment& deployment) const;
  // True if the deployment has an engine that has nothing to do.
  bool is_idle(std::uint64_t id) const;
  // True if a client uses the deployment, waits for it, or has just been told that it is ready.
  bool in_use(std::uint64_t id, std::int64_t now_us) const;
  // Returns the deployments that have an engine and are not in use: they would make room for
  // another.
  std::set<std::uint64_t> unused(std::int64_t now_us) const;
  // Returns the unused deployment that was used longest ago, except those in `except`.
  std::optional<std::uint64_t> longest_unused(const std::set<std::uint64_t>& except,
                                              std::int64_t now_us) const;
};

}  // namespace troupe::actors::coordinator
