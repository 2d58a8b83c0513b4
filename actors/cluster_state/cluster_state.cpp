#include <algorithm>

#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/runtime/text/utf8.h>

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
    case DeploymentLife::kWaiting:
      return "waiting";
    case DeploymentLife::kFailed:
      return "failed";
  }
  return "unknown";
}

Status check_node_name(std::string_view name) {
  constexpr std::size_t kBytesMax = 64;
  bool plain = name.size() <= kBytesMax && utf8_valid_prefix(name) == name.size();
  for (std::size_t at = 0; plain && at < name.size();) {
    const Utf8Char c = utf8_char(name.substr(at));
    plain =
        c.code_point >= 0x20 && c.code_point != ',' && (c.code_point < 0x7f || c.code_point > 0x9f);
    at += c.bytes;
  }
  if (plain) return Status::ok();
  return Status(Code::kInvalidArgument,
                "a node cannot be named " + in_quotes(name) +
                    "; a name has at most 64 bytes of UTF-8 without commas and control characters "
                    "(--name)");
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
  for (auto& [id, deployment] : deployments_) deployment.unfit.erase(key);
  for (auto& [model, costs] : costs_) costs.erase(key);
  std::erase_if(ways_,
                [&](const auto& way) { return way.first.first == key || way.first.second == key; });
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

Deployment* ClusterState::find(std::uint64_t epoch) {
  for (auto& [id, deployment] : deployments_) {
    if (deployment.epoch == epoch) return &deployment;
  }
  return nullptr;
}

Deployment* ClusterState::find_id(std::uint64_t id) {
  const auto found = deployments_.find(id);
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
      holds(deployment->manifest.model, node, stage.layers);
    }
    all = all && stage.loaded;
  }
  if (all) deployment->life = DeploymentLife::kReady;
  return all;
}

std::vector<std::uint64_t> ClusterState::on_node(const net::PublicKey& node) const {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, deployment] : deployments_) {
    if (deployment.on(node)) ids.push_back(id);
  }
  return ids;
}

void ClusterState::forget_source(const net::PublicKey& client) {
  for (auto& [id, deployment] : deployments_) std::erase(deployment.sources, client);
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
