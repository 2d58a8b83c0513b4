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
#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/actors/cluster_state/owners.h>
#include <troupe/actors/coordinator/session.h>
#include <troupe/actors/coordinator/setup.h>
#include <troupe/actors/engine/engine.h>

// The state of the head's actor: its decider, and for every deployment, client and open request
// what the actor has to remember of it. Only actors/coordinator/ includes it; everything runs on
// the actor's thread. The functions here are pure: the time is an argument.

namespace troupe::actors::coordinator {

// How the process that opened a model is answered: by a promise in this process, or by a frame.
using Reply = std::function<void(const ModelReady&)>;

struct Client {
  token_sink session;
  bool local = false;  // of the head's own user
  // It enrolled and has to say Hello until then; absent: it has.
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
  std::uint64_t epoch = 0;  // of the placement that the engine knows
  std::size_t context_max = 0;
  std::uint64_t positions_max = 0;  // as the engine was told last
  std::uint64_t submitted = 0;      // requests that were sent to it
  std::uint64_t idle_after = 0;     // it had nothing to do after this number of requests
  std::uint64_t awaited = 0;        // opens from which no request has come yet
  std::int64_t used_us = 0;         // when it was last opened, asked, or had answered

  bool idle() const { return submitted == idle_after; }
  // Opens whose requests are still expected.
  std::uint64_t expected(std::int64_t now_us) const;
  // The number of requests that it has, or is about to have.
  double load(std::int64_t now_us) const;
  void opened(std::int64_t now_us);
  void asked(std::int64_t now_us);
  // How long it stays; nothing while it works, or if it stays forever.
  std::optional<std::int64_t> left_us(std::optional<std::int64_t> keep_alive_us,
                                      std::int64_t now_us) const;
};

// When the copies of a deployment's layers are made. Before that its nodes let each other in.
struct CopiesDue {
  std::uint64_t epoch = 0;
  std::int64_t at_us = 0;
  bool allowed = false;
  bool asked = false;     // all nodes were asked; a node may still say that it could not copy
  unsigned failures = 0;  // rounds in which a node could not
};

// What the actor remembers of one deployment, beside its place in ClusterState.
struct DeploymentRun {
  std::vector<Reply> waiting;           // opens that wait until it serves
  std::optional<RunningEngine> engine;  // absent until it has served once
  std::int64_t ordered_us = 0;          // when its nodes were last told what to do
  // Since when it is loaded but its first stage cannot be reached.
  std::optional<std::int64_t> unreachable_since_us;
  // It has a source of weights that the loads under way do not know.
  bool has_new_source = false;
  std::optional<CopiesDue> copies;
  std::int64_t no_replica_until_us = 0;  // of the eldest of a model's replicas
};

// The head's connection to a node's activations channel: it goes to the first stages, and shows
// whether a node can be dialled.
struct StageConnection {
  bool open = false;
  std::optional<std::int64_t> lost_us;  // when it broke; it may be open again
  std::string dialled_host;             // where the node was dialled when it said Hello
  std::uint16_t dialled_port = 0;
};

// An open that waits for the header of its model.
struct Opening;
// Called when the header is here, or cannot be had, instead of placing the model.
using Instead = std::function<void(const Status&, const Opening&)>;
struct Opening {
  OpenModel open;
  std::vector<model::LayerRange> ranges;
  std::vector<net::PublicKey> sources;
  std::vector<Reply> replies;
  Instead instead;
  bool measured = false;  // the nodes have been asked what its layers would cost
};

// Nodes that are asked what a model's layers would cost them. One measurement runs at a time: they
// would slow each other down.
struct Measurement {
  Measure order;
  bool begun = false;
  std::set<net::PublicKey> allowing, awaited;
  std::set<net::PublicKey> unasked;  // those awaited that follow another node on their host
  // Called once each, on the actor's thread, when all have answered or it has taken too long.
  struct Waiter {
    std::int64_t until_us = 0;
    std::function<void()> then;
  };
  std::vector<Waiter> waiters;
  std::int64_t until_us = 0;  // later answers do not count
};

// A head that was started again places nothing until the nodes that held its models are back, or
// some time has passed.
struct Restoring {
  std::vector<std::pair<std::uint64_t, OpenModel>> models;  // by the id that they had
  std::set<net::PublicKey> nodes;                           // that should come back
  std::int64_t until_us = 0;
  std::vector<std::function<void()>> held;  // opens that wait
};

struct HeadState {
  coordinator_actor::pointer self = nullptr;  // the actor that this is the state of
  std::shared_ptr<const CoordinatorSetup> setup;
  ClusterState cluster{1};
  std::map<std::uint64_t, DeploymentRun> runs;  // by the deployment's id
  std::map<net::PublicKey, StageConnection> connections;
  // Nodes that said Hello and are being dialled back before they are welcomed (reach.h).
  struct Joining {
    Hello hello;
    std::uint64_t incarnation = 0;
    std::int64_t since_us = 0;
    bool old_loss = false;  // the next failure is that of attempts at its old address
  };
  std::map<net::PublicKey, Joining> joining;
  std::int64_t dialled_again_us = 0;
  std::shared_ptr<ReplayCounters> replay_counters = std::make_shared<ReplayCounters>();

  std::map<net::PublicKey, Client> clients;
  std::shared_ptr<Owners> owners;                   // the identities of their connections
  std::map<net::PublicKey, std::int64_t> revoking;  // nodes, and when their frames are dropped

  std::map<std::uint64_t, Opening> openings;  // by a number of our own
  std::uint64_t next_opening = 1;
  std::map<std::uint64_t, Measurement> measurements;  // by number
  std::uint64_t next_measurement = 1;
  std::optional<Restoring> restoring;
  // Of models that were ever placed, by model: no client needs to bring them again.
  std::map<std::string, model::Manifest> manifests;
  // Of whole files in the head's own store, by model: they count before those of clients.
  std::map<std::string, model::Manifest> own_manifests;

  net::PublicKey own_key() const { return setup->link->self(); }
  // nullptr if the deployment has no engine.
  RunningEngine* engine_of(std::uint64_t id);
  const RunningEngine* engine_of(std::uint64_t id) const;
  // The deployment's engine knows where its layers lie now.
  bool is_serving(const Deployment& deployment) const;
  // The deployment has an engine that has nothing to do.
  bool is_idle(std::uint64_t id) const;
  // Somebody uses the deployment, waits for it, or has just been told that it is there.
  bool in_use(std::uint64_t id, std::int64_t now_us) const;
  // The deployments that have an engine and are not in use: they would make room.
  std::set<std::uint64_t> unused(std::int64_t now_us) const;
  // The one of them that was used longest ago, but none of `except`.
  std::optional<std::uint64_t> longest_unused(const std::set<std::uint64_t>& except,
                                              std::int64_t now_us) const;
};

}  // namespace troupe::actors::coordinator
