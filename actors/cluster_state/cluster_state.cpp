#include <troupe/actors/cluster_state/cluster_state.h>

namespace troupe::actors {

Result<std::string> ClusterState::join(const net::PublicKey& key, const Hello& hello, bool works,
                                       std::uint64_t incarnation, std::int64_t now_us) {
  const auto name = members.join(key, hello, works, incarnation, now_us);
  if (!name) return name;
  deployments.forget_failures(key);
  costs.forget(key);
  return name;
}

bool ClusterState::loaded(const net::PublicKey& node, std::uint64_t epoch,
                          std::uint64_t weights_bytes) {
  const Deployment* deployment = deployments.find_epoch(epoch);
  if (deployment == nullptr || deployment->life != DeploymentLife::kLoading) return false;
  for (const StagePlan& stage : deployment->stages) {
    if (stage.node == node) disks.add(deployment->manifest.model, node, stage.layers);
  }
  return deployments.loaded(node, epoch, weights_bytes);
}

void ClusterState::copied(const std::string& model, const net::PublicKey& node,
                          model::LayerRange layers, std::uint64_t copied_bytes) {
  disks.add(model, node, layers);
  members.add_copied_bytes(node, copied_bytes);
}

std::vector<StageName> ClusterState::stage_names(const Deployment& deployment) const {
  std::vector<StageName> names;
  for (const StagePlan& stage : deployment.stages) {
    names.push_back({members.name_of(stage.node), model::to_string(stage.layers)});
  }
  return names;
}

}  // namespace troupe::actors
