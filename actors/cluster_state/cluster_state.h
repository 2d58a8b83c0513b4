#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <troupe/actors/messages/deploy.h>
#include <troupe/actors/messages/membership.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/model/config/layer_range.h>
#include <troupe/model/planning/partition.h>
#include <troupe/model/planning/placement.h>
#include <troupe/model/store/manifest.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// The coordinator's decider: who is in the cluster, who is alive, which layers lie where. Pure: no
// actor, clock, socket or file; `now_us` is the monotonic clock, an argument. The coordinator's
// shell turns frames into calls and results into frames.

namespace troupe::actors {

constexpr std::int64_t kHeartbeatUs = 200'000;
constexpr std::int64_t kRestingHeartbeatUs = 400'000;  // of a node without layers
constexpr std::int64_t kSuspectUs = 1'000'000;
constexpr std::int64_t kDeadUs = 2'000'000;
// An observer that was itself away for so long cannot judge: it grants everyone a fresh lease.
constexpr std::int64_t kStallUs = 600'000;
// How long a deployment that nobody can hold waits for a node before its requests end.
constexpr std::int64_t kNobodyLeftUs = 10'000'000;

enum class NodeLife { kReady, kSuspect, kDead, kLeft };
const char* life_name(NodeLife life);

struct NodeRecord {
  net::PublicKey key{};
  std::string name, host, isa;
  std::uint16_t port = 0;
  std::uint32_t threads = 0;
  std::uint64_t memory_bytes = 0;
  std::uint64_t incarnation = 0;
  bool works = true;  // false: a head that holds no layers
  NodeLife life = NodeLife::kReady;
  std::int64_t heard_us = 0;
  NodeStats stats;
  std::uint64_t copied_bytes = 0;  // weights fetched in the background, since it joined
  bool alive() const { return life == NodeLife::kReady || life == NodeLife::kSuspect; }
};

struct StagePlan {
  net::PublicKey node{};
  model::LayerRange layers;
  bool allowed = false;  // the node has let its peers in
  bool loaded = false;
  std::uint64_t weights_bytes = 0;
  std::uint64_t planned_bytes = 0;  // of the node's memory: weights, and keys and values to come
};

// kWaiting: nobody is left who could hold the layers; its stages are those of before.
enum class DeploymentLife { kAllowing, kLoading, kReady, kWaiting, kFailed };
const char* life_name(DeploymentLife life);

// A model and how it is to lie: what its replicas have in common.
struct ModelAsk {
  model::Manifest manifest;
  std::size_t layers = 0;                     // of the model
  model::MemoryNeed need = {};                // of its layers
  std::size_t channels = 0;                   // 0: not known, and costs do not count
  std::vector<model::LayerRange> asked = {};  // an explicit split; empty: ours to choose
  std::uint8_t kv = 0;                        // kv_code
  std::uint64_t context = 0;  // positions that it is planned for; 0: as many as usual
  std::vector<net::PublicKey> sources = {};  // clients and the head, who have the whole model
};

struct Deployment : ModelAsk {
  Deployment() = default;
  explicit Deployment(ModelAsk ask) : ModelAsk(std::move(ask)) {}
  std::uint64_t id = 0;                // for as long as it lives: its first epoch
  std::uint64_t epoch = 0;             // of where its layers lie now; frames of another are stale
  std::vector<StagePlan> stages;       // in layer order
  std::size_t stages_wanted = 0;       // as planned first; fewer while nodes are missing
  std::set<std::uint64_t> instead_of;  // ids of those that would make room for it
  bool doubled = false;                // on nodes of its other replicas: none was free
  std::set<net::PublicKey> unfit;      // alive, but this failed on them
  DeploymentLife life = DeploymentLife::kAllowing;
  std::string lost, lost_for;  // why it is placed anew, and why it waits
  // Stages of epochs that are over, which nodes keep for their weights until it is loaded again.
  std::vector<std::pair<net::PublicKey, std::uint64_t>> kept;
  std::int64_t waiting_since_us = 0;
  bool on(const net::PublicKey& node) const;
};

// What became of deployments whose node was lost, for `status`.
struct RecoveryCounters {
  std::uint64_t replacements = 0;     // new epochs of deployments that had one
  std::uint64_t replays = 0;          // requests that were computed again
  std::uint64_t replayed_tokens = 0;  // their positions that had been computed before
  std::uint64_t quarantined = 0;      // requests that ended because workers crashed on them
};

// A node's name is shown to everyone: at most 64 bytes of UTF-8 without commas (lists
// of nodes have them) and control characters.
// kInvalidArgument says what is wrong with another one; "" is taken for none.
Status check_node_name(std::string_view name);

class ClusterState {
 public:
  // `first_epoch`: larger than any epoch of an earlier run of this head.
  explicit ClusterState(std::uint64_t first_epoch) : next_epoch_(first_epoch) {}

  // A node says Hello: its unique name, or why not (kAlreadyExists: a live node has this key;
  // kInvalidArgument: a name, host or ISA that cannot be shown).
  Result<std::string> join(const net::PublicKey& key, const Hello& hello, bool works,
                           std::uint64_t incarnation, std::int64_t now_us);
  // False: not a member (any more): it must say Hello again.
  bool heartbeat(const net::PublicKey& key, std::uint64_t incarnation, const Heartbeat& beat,
                 std::int64_t now_us);
  // The node's connection closed, or it said so.
  bool leave(const net::PublicKey& key, NodeLife life);
  // Judges the leases; the nodes that died now.
  std::vector<net::PublicKey> tick(std::int64_t now_us);

  // Who held a model's layers, in their order, in an earlier run of this head when it was asked for
  // with these ranges. Later placements for the same ask keep that order, so that nodes find their
  // layers on their disks; a full placement is remembered by itself.
  void remember_order(const std::string& model, const std::vector<model::LayerRange>& asked,
                      std::vector<net::PublicKey> nodes);

  // Places a model on the nodes that are alive and work: the split that is asked for in the order
  // that nodes joined,
  // or, when empty, shares by what its layers cost each of them (set_cost, set_way), or by their
  // threads where that is not known of all, within the memory that other deployments leave (never
  // more stages than layers).
  //   Errors: kUnavailable (no node), kInvalidArgument (ranges that do not cover the layers once,
  //   or more ranges than nodes), kResourceExhausted (memory: how much is missing, and where).
  Result<std::uint64_t> plan(ModelAsk ask, std::set<std::uint64_t> instead_of = {});
  // What plan() would do on the nodes of these names (none: all), and what is known of it.
  struct Outlook {
    std::vector<const NodeRecord*> nodes;   // that may be used, in the order of plan()
    std::vector<std::uint64_t> memories;    // that they have left
    std::vector<model::LayerRange> ranges;  // of each, empty ones too
    model::PlanNodes measured;              // without costs where they are not known of all
    model::PlanShape shape;
  };
  //   Errors: as plan(); kNotFound: a name that no node has.
  Result<Outlook> outlook(const Deployment& deployment,
                          const std::vector<std::string>& names) const;
  // The engine lives there.
  void set_head(const net::PublicKey& head) { head_ = head; }
  // Measured: what a layer of the model costs a node, and what a way carries. Forgotten when a node
  // joins anew.
  void set_cost(const std::string& model, const net::PublicKey& node, const model::LayerCost& cost,
                std::int64_t now_us);
  void set_way(const net::PublicKey& from, const net::PublicKey& to, const model::LinkCost& cost);
  bool measured_since(const std::string& model, const net::PublicKey& node,
                      std::int64_t since_us) const;
  // Places a deployment anew, under a new epoch, within the memory that other deployments leave.
  // Who is left keeps its place in the order of layers, so that it keeps most of what it has
  // loaded; a node that holds none of it takes the layers of a lost one; with fewer nodes than
  // before, theirs and the lost ones' layers are shared out anew, explicit ranges or not. With
  // `grow` every node is used, as in plan().
  //   Errors: kUnavailable (no node is left), kResourceExhausted (not enough memory in those that
  //   are, and how much is missing); the deployment stays as it was.
  Status replace(std::uint64_t id, bool grow = false);
  // replace() found nobody: the deployment waits for a node. What it was planned to take of those
  // that are left stays its own.
  void wait(std::uint64_t id, std::int64_t now_us);
  // Deployments that wait, and whether they have waited long enough.
  std::vector<std::pair<std::uint64_t, bool>> waiting(std::int64_t now_us) const;
  // Deployments of the same model that live, asked for alike: it and its replicas, the eldest
  // first.
  std::vector<std::uint64_t> replicas(const Deployment& deployment) const;
  // One more of them, on nodes that none of them lies on.
  //   Errors: kUnavailable (there are none, or fewer than the split that was asked for, or the
  //   prediction says that streams would not gain), and as plan().
  Result<std::uint64_t> plan_replica(std::uint64_t id);
  // How fast streams go through each of them, to be compared: tokens a second as predicted, or
  // threads where not all nodes have been measured.
  std::vector<double> speeds(const std::vector<std::uint64_t>& ids) const;
  // There is another node that it could lie on.
  bool others_than(const net::PublicKey& node, const Deployment& deployment) const;
  // Fewer stages than it was planned for, and replace() with `grow` would find more.
  bool can_grow(const Deployment& deployment) const;
  // Positions that the requests of a deployment may take together: as many as the memory of every
  // stage's node has room for, beside what other deployments were planned to take. 0: not known.
  std::uint64_t positions_max(const Deployment& deployment) const;
  // A deployment of `model` that lives, with these ranges (as asked for, or as they are) if any
  // are given, whose keys and values are kept like this.
  Deployment* find(const std::string& model, const std::vector<model::LayerRange>& ranges,
                   std::uint8_t kv = 0);
  Deployment* find(std::uint64_t epoch);
  Deployment* find_id(std::uint64_t id);
  // True when this was the last one that was awaited.
  bool allowed(const net::PublicKey& node, std::uint64_t epoch);
  bool loaded(const net::PublicKey& node, std::uint64_t epoch, std::uint64_t weights_bytes);
  void erase(std::uint64_t id) { deployments_.erase(id); }
  // Ids of the deployments that have a stage on `node`.
  std::vector<std::uint64_t> on_node(const net::PublicKey& node) const;
  // These layers of a model lie on the node's disk; it fetched `copied_bytes` of them just now.
  void holds(const std::string& model, const net::PublicKey& node, model::LayerRange layers,
             std::uint64_t copied_bytes = 0);
  // Who is alive and holds some of these layers on disk, `except` for one.
  std::vector<net::PublicKey> holders(const std::string& model, model::LayerRange layers,
                                      const net::PublicKey& except) const;
  // Of how many of them each of these layers lies on the disk, at least.
  std::size_t disks(const std::string& model, model::LayerRange layers) const;
  // What each node should have on disk, so that it needs to fetch nothing, whichever other one is
  // lost: its layers after each loss. Every layer then lies on two disks, if there are two nodes.
  std::map<net::PublicKey, model::LayerRange> copies(std::uint64_t id) const;
  // The client is gone: nobody fetches from it any more.
  void forget_source(const net::PublicKey& client);

  const NodeRecord* node(const net::PublicKey& key) const;
  // In the order that they joined.
  std::vector<const NodeRecord*> nodes() const;
  const std::map<std::uint64_t, Deployment>& deployments() const { return deployments_; }  // by id
  std::uint64_t replacements() const { return replacements_; }
  std::vector<StageName> stage_names(const Deployment& deployment) const;

 private:
  std::string unique_name(const std::string& wished, const net::PublicKey& key) const;
  using Workers = std::vector<const NodeRecord*>;
  Workers usable(const std::set<net::PublicKey>& unfit) const;
  // A deployment with its stages: gives it an id, which is its first epoch.
  std::uint64_t add(Deployment deployment);
  // The unfit, and the nodes of its other replicas.
  std::set<net::PublicKey> apart(const Deployment& deployment) const;
  void in_remembered_order(Workers& workers, const std::string& model,
                           const std::vector<model::LayerRange>& asked) const;
  void remember_order(const Deployment& deployment);
  // What the node offers beyond what deployments were planned to take, but for this one and those
  // that would make room for it.
  std::uint64_t free_bytes(const NodeRecord& node, const Deployment& for_this) const;
  // Where replace() would place it, if the unfit were these.
  Result<std::vector<StagePlan>> places(const Deployment& deployment,
                                        const std::set<net::PublicKey>& unfit, bool grow) const;
  Result<std::vector<StagePlan>> share_out(const Workers& workers, const Deployment& deployment,
                                           const std::vector<model::LayerRange>& ranges) const;
  Result<std::vector<model::LayerRange>> choose_ranges(
      const Workers& workers, const Deployment& deployment,
      std::span<const std::uint64_t> memories) const;
  // Of its nodes that are known.
  model::Placement placement(const Deployment& deployment) const;
  // Without costs where they are not known of all.
  model::PlanNodes plan_nodes(const Workers& workers, const std::string& model) const;
  model::PlanShape plan_shape(const Workers& workers, const Deployment& deployment) const;
  struct Cost {
    model::LayerCost layers;
    std::int64_t measured_us = 0;
  };
  std::map<std::string, std::map<net::PublicKey, Cost>> costs_;  // by model and node
  std::map<std::pair<net::PublicKey, net::PublicKey>, model::LinkCost> ways_;
  net::PublicKey head_{};
  std::map<std::string, std::vector<net::PublicKey>> orders_;  // by model and ask
  std::map<net::PublicKey, NodeRecord> nodes_;
  std::vector<net::PublicKey> order_;
  std::map<std::uint64_t, Deployment> deployments_;
  // Model -> node -> layers of it on the node's disk.
  std::map<std::string, std::map<net::PublicKey, std::set<std::size_t>>> disks_;
  std::uint64_t next_epoch_;
  std::uint64_t replacements_ = 0;
  std::int64_t last_tick_us_ = 0;
};

}  // namespace troupe::actors
