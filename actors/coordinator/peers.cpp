#include <algorithm>

#include <troupe/actors/cluster_state/replacement.h>
#include <troupe/actors/coordinator/peers.h>

namespace troupe::actors::coordinator {

PeerAddress address_of(const HeadState& head, const net::PublicKey& key) {
  PeerAddress address;
  address.key = key;
  if (key == head.own_key()) {
    address.role = static_cast<std::uint8_t>(net::Role::kHead);
    address.host = head.setup->advertise.host;
    address.port = head.setup->advertise.port;
    return address;
  }
  if (const NodeRecord* node = head.cluster.members.find(key)) {
    address.role = static_cast<std::uint8_t>(net::Role::kNode);
    address.name = node->name;
    address.host = node->host;
    address.port = node->port;
  } else {
    address.role = static_cast<std::uint8_t>(net::Role::kClient);
  }
  return address;
}

std::vector<net::PublicKey> fetchers_of(const HeadState& head, const std::string& model) {
  std::set<net::PublicKey> fetchers;
  for (const auto& [id, deployment] : head.cluster.deployments.all()) {
    if (deployment.manifest.model != model || deployment.life == DeploymentLife::kFailed) continue;
    for (const StagePlan& stage : deployment.stages) fetchers.insert(stage.node);
    const auto run = head.runs.find(id);
    if (run == head.runs.end() || !run->second.copies) continue;
    const CopiesDue& copies = *run->second.copies;
    if (copies.epoch != deployment.epoch || !copies.allowed) continue;
    for (const auto& [node, layers] : wanted_copies(head.cluster, id)) fetchers.insert(node);
  }
  return {fetchers.begin(), fetchers.end()};
}

std::vector<PeerAddress> sources_of(const HeadState& head, const Deployment& deployment,
                                    model::LayerRange layers, const net::PublicKey& node) {
  const std::string& model = deployment.manifest.model;
  std::vector<PeerAddress> sources;
  const auto add = [&](const net::PublicKey& key) {
    const bool known = std::any_of(sources.begin(), sources.end(),
                                   [&](const PeerAddress& source) { return source.key == key; });
    if (!known && key != node) sources.push_back(address_of(head, key));
  };
  for (const net::PublicKey& source : deployment.sources) add(source);
  const Members& members = head.cluster.members;
  for (const net::PublicKey& key : head.cluster.disks.holders(members, model, layers, node)) {
    add(key);
  }
  // Only an earlier run of this head knew which layers lie on which disk, so every node is asked.
  const auto& placed = head.setup->placed;
  const bool from_before = std::any_of(placed.begin(), placed.end(),
                                       [&](const PlacedModel& one) { return one.model == model; });
  for (const NodeRecord* other : members.all()) {
    if (from_before && other->alive()) add(other->key);
  }
  return sources;
}

}  // namespace troupe::actors::coordinator
