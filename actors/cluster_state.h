#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <troupe/actors/messages/deploy.h>
#include <troupe/actors/messages/generate.h>
#include <troupe/actors/messages/membership.h>
#include <troupe/model/config.h>
#include <troupe/model/partition.h>
#include <troupe/model/store.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// The coordinator's decider: who is in the cluster, who is alive, which layers lie where. Pure: no
// actor, clock, socket or file; `now_us` is the monotonic clock, an argument. The coordinator's
// shell turns frames into calls and results into frames.

namespace troupe::actors {

constexpr std::int64_t kHeartbeatUs = 200'000;
constexpr std::int64_t kSuspectUs = 1'000'000;
constexpr std::int64_t kDeadUs = 2'000'000;
// An observer that was itself away for so long cannot judge: it grants everyone a fresh lease.
constexpr std::int64_t kStallUs = 600'000;

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

enum class DeploymentLife { kAllowing, kLoading, kReady, kFailed };
const char* life_name(DeploymentLife life);

struct Deployment {
  std::uint64_t epoch = 0;
  model::Manifest manifest;
  bool explicit_layers = false;
  std::uint8_t kv = 0;  // kv_code
  std::vector<StagePlan> stages;
  std::vector<net::PublicKey> sources;
  DeploymentLife life = DeploymentLife::kAllowing;
};

// A node's name is shown to everyone: at most 64 bytes of UTF-8 without control characters.
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

  // Places a model on the nodes that are alive and work: `ranges` in the order that nodes joined,
  // or, when empty, shares by their threads, within the memory that other deployments leave (never
  // more stages than layers).
  //   Errors: kUnavailable (no node), kInvalidArgument (ranges that do not cover the layers once,
  //   or more ranges than nodes), kResourceExhausted (memory: how much is missing, and where).
  Result<std::uint64_t> plan(const model::Manifest& manifest, std::size_t layers,
                             const std::vector<model::LayerRange>& ranges,
                             std::vector<net::PublicKey> sources, std::uint8_t kv = 0,
                             const model::MemoryNeed& need = {});
  // A deployment of `model` that is ready or on its way there, with these ranges if any are given,
  // whose keys and values are kept like this.
  Deployment* find(const std::string& model, const std::vector<model::LayerRange>& ranges,
                   std::uint8_t kv = 0);
  Deployment* find(std::uint64_t epoch);
  // True when this was the last one that was awaited.
  bool allowed(const net::PublicKey& node, std::uint64_t epoch);
  bool loaded(const net::PublicKey& node, std::uint64_t epoch, std::uint64_t weights_bytes);
  void erase(std::uint64_t epoch) { deployments_.erase(epoch); }
  // Deployments that have a stage on `node`.
  std::vector<std::uint64_t> on_node(const net::PublicKey& node) const;

  const NodeRecord* node(const net::PublicKey& key) const;
  // In the order that they joined.
  std::vector<const NodeRecord*> nodes() const;
  const std::map<std::uint64_t, Deployment>& deployments() const { return deployments_; }
  std::vector<StageName> stage_names(const Deployment& deployment) const;

 private:
  std::string unique_name(const std::string& wished, const net::PublicKey& key) const;
  std::uint64_t free_bytes(const NodeRecord& node) const;
  std::map<net::PublicKey, NodeRecord> nodes_;
  std::vector<net::PublicKey> order_;
  std::map<std::uint64_t, Deployment> deployments_;
  std::uint64_t next_epoch_;
  std::int64_t last_tick_us_ = 0;
};

}  // namespace troupe::actors
