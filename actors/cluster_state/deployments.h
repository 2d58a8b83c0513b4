#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <troupe/model/config/layer_range.h>
#include <troupe/model/planning/partition.h>
#include <troupe/model/store/manifest.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/numerics/arithmetic_version.h>

// The deployments of a cluster: models whose layers lie on nodes, or are on their way there. Pure:
// the time is an argument. Part of ClusterState; placement.h decides where the layers go.

namespace troupe::actors {

// How long a deployment that no node can hold waits for a node before its requests end.
constexpr std::int64_t kNobodyLeftUs = 10'000'000;

struct StagePlan {
  net::PublicKey node{};
  model::LayerRange layers;
  bool allowed = false;  // the node has let its peers in
  bool loaded = false;
  std::uint64_t weights_bytes = 0;
  // The part of the node's memory for weights, and for keys and values to come.
  std::uint64_t planned_bytes = 0;
};

// In kWaiting no node is left that could hold the layers; the stages are still the previous ones.
enum class DeploymentLife { kAllowing, kLoading, kReady, kWaiting, kFailed };
const char* life_name(DeploymentLife life);

// A model and how its layers should lie: what its replicas have in common.
struct DeploymentSpec {
  model::Manifest manifest;
  std::size_t layers = 0;                     // of the model
  model::MemoryNeed need = {};                // of its layers
  std::size_t channels = 0;                   // 0 if not known; costs then do not count
  std::vector<model::LayerRange> asked = {};  // an explicit split; if it is empty, the head chooses
  std::uint8_t kv = 0;                        // kv_code
  std::uint64_t context = 0;  // the positions that it is planned for; 0 means the usual number
  std::vector<net::PublicKey> sources = {};  // clients and the head, if they have the whole model
};

struct Deployment : DeploymentSpec {
  Deployment() = default;
  explicit Deployment(DeploymentSpec spec) : DeploymentSpec(std::move(spec)) {}
  std::uint64_t id = 0;           // its first epoch; never changes
  std::uint64_t epoch = 0;        // of the current placement; frames of another epoch are stale
  std::vector<StagePlan> stages;  // in layer order
  std::size_t stages_wanted = 0;  // as first planned; there are fewer while nodes are missing
  std::set<std::uint64_t> instead_of;  // ids of deployments that would end to make room for it
  bool doubled = false;  // it shares nodes with one of its replicas, since no node was free
  std::set<net::PublicKey> unfit;  // nodes that are alive, but on which this deployment failed
  // Nodes that are alive, but that others of its nodes did not reach, with a sentence for each.
  std::map<net::PublicKey, std::string> cut_off;
  DeploymentLife life = DeploymentLife::kAllowing;
  std::uint32_t arithmetic = kArithmeticVersion;  // the version by which all of its nodes compute
  std::string lost, lost_for;                     // why it is placed again, and why it waits
  // Stages of earlier epochs, which nodes keep for their weights until the deployment is loaded
  // again.
  std::vector<std::pair<net::PublicKey, std::uint64_t>> kept;
  std::int64_t waiting_since_us = 0;
  bool on(const net::PublicKey& node) const;
  // Returns the nodes that the deployment does without: those unfit for it, and those cut off.
  std::set<net::PublicKey> left_out() const;
};

class Deployments {
 public:
  // `first_epoch` is larger than any epoch of an earlier run of this head.
  explicit Deployments(std::uint64_t first_epoch) : next_epoch_(first_epoch) {}

  // Adds a deployment that has its stages, and returns its id, which is its first epoch.
  std::uint64_t add(Deployment deployment);
  void erase(std::uint64_t id) { all_.erase(id); }
  // Gives a deployment other stages, under a new epoch.
  void move(Deployment& deployment, std::vector<StagePlan> stages, bool doubled);
  // Returns the number of times that move() was called.
  std::uint64_t moves() const { return moves_; }

  const std::map<std::uint64_t, Deployment>& all() const { return all_; }  // by id
  Deployment& at(std::uint64_t id) { return all_.at(id); }
  const Deployment& at(std::uint64_t id) const { return all_.at(id); }
  // Returns nullptr if there is none.
  Deployment* find_id(std::uint64_t id);
  Deployment* find_epoch(std::uint64_t epoch);
  // Returns the oldest live deployment of `model` whose keys and values are stored as `kv` says. If
  // ranges are given, it must have been asked for with them, or its layers must happen to be split
  // in the same way.
  Deployment* find(const std::string& model, const std::vector<model::LayerRange>& ranges,
                   std::uint8_t kv = 0);
  // True if the node's stage of this epoch belongs to a deployment, or is kept for its weights.
  bool wants(const net::PublicKey& node, std::uint64_t epoch) const;
  // Returns the ids of the deployments that have a stage on `node`.
  std::vector<std::uint64_t> on_node(const net::PublicKey& node) const;
  // Returns the live deployments of the same model that were asked for alike, oldest first: this
  // one and its replicas.
  std::vector<std::uint64_t> replicas(const Deployment& deployment) const;
  // Returns the nodes that a deployment should avoid: those left out of it, and those of its
  // replicas.
  std::set<net::PublicKey> avoided(const Deployment& deployment) const;

  // These say that a node has let its peers in, or has loaded its layers. They return true if it
  // was the last one.
  bool allowed(const net::PublicKey& node, std::uint64_t epoch);
  bool loaded(const net::PublicKey& node, std::uint64_t epoch, std::uint64_t weights_bytes);
  // Lets a deployment wait for a node that can hold it, because none can. The memory that it was
  // planned to take on the nodes that are left stays reserved.
  void wait(std::uint64_t id, std::int64_t now_us);
  // Returns the deployments that wait for a node, and whether each has waited for kNobodyLeftUs.
  std::vector<std::pair<std::uint64_t, bool>> waiting(std::int64_t now_us) const;
  // Says that a client is gone: its copy of a model can no longer be fetched.
  void forget_source(const net::PublicKey& client);
  // Says that a node joined again: what failed on it may work now.
  void forget_failures(const net::PublicKey& node);

 private:
  std::map<std::uint64_t, Deployment> all_;
  std::uint64_t next_epoch_;
  std::uint64_t moves_ = 0;
};

}  // namespace troupe::actors
