#include <algorithm>

#include <troupe/actors/cluster_state.h>
#include <troupe/model/partition.h>
#include <troupe/model/utf8.h>

namespace troupe::actors {

const char* life_name(NodeLife life) {
  switch (life) {
    case NodeLife::kReady:
      return "ready";
    case NodeLife::kSuspect:
      return "suspect";
    case NodeLife::kDead:
      return "dead";
    case NodeLife::kLeft:
      return "left";
  }
  return "unknown";
}

const char* life_name(DeploymentLife life) {
  switch (life) {
    case DeploymentLife::kAllowing:
      return "placing";
    case DeploymentLife::kLoading:
      return "loading";
    case DeploymentLife::kReady:
      return "ready";
    case DeploymentLife::kFailed:
      return "failed";
  }
  return "unknown";
}

Status check_node_name(std::string_view name) {
  constexpr std::size_t kBytesMax = 64;
  bool plain = name.size() <= kBytesMax && model::utf8_valid_prefix(name) == name.size();
  for (std::size_t at = 0; plain && at < name.size();) {
    const model::Utf8Char c = model::utf8_char(name.substr(at));
    plain = c.code_point >= 0x20 && (c.code_point < 0x7f || c.code_point > 0x9f);
    at += c.bytes;
  }
  if (plain) return Status::ok();
  return Status(Code::kInvalidArgument,
                "a node cannot be named " + model::in_quotes(name) +
                    "; a name has at most 64 bytes of UTF-8 without control characters (--name)");
}

std::string ClusterState::unique_name(const std::string& wished, const net::PublicKey& key) const {
  const auto taken = [&](const std::string& name) {
    return std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& entry) {
      return entry.first != key && entry.second.alive() && entry.second.name == name;
    });
  };
  const std::string base = wished.empty() ? "node" : wished;
  std::string name = base;
  for (int i = 2; taken(name); ++i) name = base + "-" + std::to_string(i);
  return name;
}

Result<std::string> ClusterState::join(const net::PublicKey& key, const Hello& hello, bool works,
                                       std::uint64_t incarnation, std::int64_t now_us) {
  for (const std::string& shown : {hello.name, hello.host, hello.isa}) {
    TROUPE_RETURN_IF_ERROR(check_node_name(shown));
  }
  const auto found = nodes_.find(key);
  if (found != nodes_.end() && found->second.alive() && found->second.incarnation != incarnation) {
    return Status(Code::kAlreadyExists,
                  "a live node, \"" + found->second.name +
                      "\", has this key already; give every daemon a home of its own (--home)");
  }
  if (found == nodes_.end()) order_.push_back(key);
  NodeRecord& record = nodes_[key];
  record = NodeRecord{};
  record.key = key;
  record.name = unique_name(hello.name, key);
  record.host = hello.host;
  record.port = hello.port;
  record.isa = hello.isa;
  record.threads = hello.threads;
  record.memory_bytes = hello.memory_bytes;
  record.incarnation = incarnation;
  record.works = works;
  record.heard_us = now_us;
  return record.name;
}

bool ClusterState::heartbeat(const net::PublicKey& key, std::uint64_t incarnation,
                             const Heartbeat& beat, std::int64_t now_us) {
  const auto found = nodes_.find(key);
  if (found == nodes_.end() || !found->second.alive() || found->second.incarnation != incarnation) {
    return false;
  }
  found->second.heard_us = now_us;
  found->second.life = NodeLife::kReady;
  found->second.stats = beat.stats;
  return true;
}

bool ClusterState::leave(const net::PublicKey& key, NodeLife life) {
  const auto found = nodes_.find(key);
  if (found == nodes_.end() || !found->second.alive()) return false;
  found->second.life = life;
  found->second.stats.weights_bytes = found->second.stats.kv_bytes = 0;
  return true;
}

std::vector<net::PublicKey> ClusterState::tick(std::int64_t now_us) {
  const bool stalled = last_tick_us_ != 0 && now_us - last_tick_us_ > kStallUs;
  last_tick_us_ = now_us;
  std::vector<net::PublicKey> died;
  for (auto& [key, node] : nodes_) {
    if (!node.alive()) continue;
    if (stalled) node.heard_us = now_us;
    const std::int64_t silent = now_us - node.heard_us;
    if (silent > kDeadUs) {
      leave(key, NodeLife::kDead);
      died.push_back(key);
    } else {
      node.life = silent > kSuspectUs ? NodeLife::kSuspect : NodeLife::kReady;
    }
  }
  return died;
}

// What the node offers beyond what its deployments were planned to take.
std::uint64_t ClusterState::free_bytes(const NodeRecord& node) const {
  // Sums of what nodes say must not overflow.
  std::uint64_t free = std::min(node.memory_bytes, std::uint64_t{1} << 53);
  for (const auto& [epoch, deployment] : deployments_) {
    for (const StagePlan& stage : deployment.stages) {
      if (stage.node == node.key) free -= std::min(free, stage.planned_bytes);
    }
  }
  return free;
}

Result<std::uint64_t> ClusterState::plan(const model::Manifest& manifest, std::size_t layers,
                                         const std::vector<model::LayerRange>& ranges,
                                         std::vector<net::PublicKey> sources, std::uint8_t kv,
                                         const model::MemoryNeed& need) {
  std::vector<const NodeRecord*> workers;
  for (const NodeRecord* node : nodes()) {
    if (node->alive() && node->works) workers.push_back(node);
  }
  if (workers.empty()) {
    return Status(Code::kUnavailable,
                  "no node of the cluster can hold layers; start one with 'troupe start --join "
                  "TOKEN@HOST:PORT', as the head printed it");
  }
  std::vector<model::LayerRange> placed = ranges;
  if (placed.empty()) {
    std::vector<std::size_t> capacities;
    std::vector<std::uint64_t> memories;
    for (const NodeRecord* node : workers) {
      capacities.push_back(std::max(1u, node->threads));
      memories.push_back(free_bytes(*node));
    }
    TROUPE_ASSIGN_OR_RETURN(placed, model::place_layers(need, layers, capacities, memories));
  } else {
    TROUPE_RETURN_IF_ERROR(model::check_layer_ranges(placed, layers, workers.size()));
    for (std::size_t i = 0; i < placed.size(); ++i) {
      const std::uint64_t wanted = need.of(placed[i]), free = free_bytes(*workers[i]);
      if (wanted <= free) continue;
      return Status(Code::kResourceExhausted,
                    "layers " + model::to_string(placed[i]) + " need " +
                        model::memory_text(wanted) + " with their keys and values, and node " +
                        workers[i]->name + " has " + model::memory_text(free) +
                        " left: " + model::memory_text(wanted - free) +
                        " are missing; give it fewer layers (--layers) or more memory (--memory)");
    }
  }
  Deployment deployment;
  deployment.epoch = next_epoch_++;
  deployment.manifest = manifest;
  deployment.explicit_layers = !ranges.empty();
  deployment.kv = kv;
  deployment.sources = std::move(sources);
  for (std::size_t i = 0; i < placed.size(); ++i) {
    StagePlan stage;
    stage.node = workers[i]->key;
    stage.layers = placed[i];
    stage.planned_bytes = need.of(placed[i]);
    if (placed[i].begin < placed[i].end) deployment.stages.push_back(stage);
  }
  const std::uint64_t epoch = deployment.epoch;
  deployments_.emplace(epoch, std::move(deployment));
  return epoch;
}

Deployment* ClusterState::find(const std::string& model,
                               const std::vector<model::LayerRange>& ranges, std::uint8_t kv) {
  for (auto& [epoch, deployment] : deployments_) {
    if (deployment.manifest.model != model || deployment.life == DeploymentLife::kFailed) continue;
    if (deployment.kv != kv) continue;
    if (ranges.empty()) return &deployment;
    const bool same = ranges.size() == deployment.stages.size() &&
                      std::equal(ranges.begin(), ranges.end(), deployment.stages.begin(),
                                 [](const auto& a, const auto& b) { return a == b.layers; });
    if (same) return &deployment;
  }
  return nullptr;
}

Deployment* ClusterState::find(std::uint64_t epoch) {
  const auto found = deployments_.find(epoch);
  return found == deployments_.end() ? nullptr : &found->second;
}

bool ClusterState::allowed(const net::PublicKey& node, std::uint64_t epoch) {
  Deployment* deployment = find(epoch);
  if (deployment == nullptr || deployment->life != DeploymentLife::kAllowing) return false;
  bool all = true;
  for (StagePlan& stage : deployment->stages) {
    if (stage.node == node) stage.allowed = true;
    all = all && stage.allowed;
  }
  if (all) deployment->life = DeploymentLife::kLoading;
  return all;
}

bool ClusterState::loaded(const net::PublicKey& node, std::uint64_t epoch,
                          std::uint64_t weights_bytes) {
  Deployment* deployment = find(epoch);
  if (deployment == nullptr || deployment->life != DeploymentLife::kLoading) return false;
  bool all = true;
  for (StagePlan& stage : deployment->stages) {
    if (stage.node == node) {
      stage.loaded = true;
      stage.weights_bytes = weights_bytes;
    }
    all = all && stage.loaded;
  }
  if (all) deployment->life = DeploymentLife::kReady;
  return all;
}

std::vector<std::uint64_t> ClusterState::on_node(const net::PublicKey& node) const {
  std::vector<std::uint64_t> epochs;
  for (const auto& [epoch, deployment] : deployments_) {
    const bool there = std::any_of(deployment.stages.begin(), deployment.stages.end(),
                                   [&](const StagePlan& stage) { return stage.node == node; });
    if (there) epochs.push_back(epoch);
  }
  return epochs;
}

const NodeRecord* ClusterState::node(const net::PublicKey& key) const {
  const auto found = nodes_.find(key);
  return found == nodes_.end() ? nullptr : &found->second;
}

std::vector<const NodeRecord*> ClusterState::nodes() const {
  std::vector<const NodeRecord*> nodes;
  for (const net::PublicKey& key : order_) nodes.push_back(&nodes_.at(key));
  return nodes;
}

std::vector<StageName> ClusterState::stage_names(const Deployment& deployment) const {
  std::vector<StageName> names;
  for (const StagePlan& stage : deployment.stages) {
    const NodeRecord* record = node(stage.node);
    names.push_back({record != nullptr ? record->name : "?", model::to_string(stage.layers)});
  }
  return names;
}

}  // namespace troupe::actors
