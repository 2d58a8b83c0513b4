#include <algorithm>

#include <troupe/actors/cluster_state/deployments.h>

namespace troupe::actors {

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

bool Deployment::on(const net::PublicKey& node) const {
  return std::any_of(stages.begin(), stages.end(),
                     [&](const StagePlan& stage) { return stage.node == node; });
}

std::set<net::PublicKey> Deployment::left_out() const {
  std::set<net::PublicKey> nodes = unfit;
  for (const auto& [node, why] : cut_off) nodes.insert(node);
  return nodes;
}

std::uint64_t Deployments::add(Deployment deployment) {
  deployment.stages_wanted = deployment.stages.size();
  deployment.id = deployment.epoch = next_epoch_++;
  const std::uint64_t id = deployment.id;
  all_.emplace(id, std::move(deployment));
  return id;
}

void Deployments::move(Deployment& deployment, std::vector<StagePlan> stages, bool doubled) {
  deployment.stages = std::move(stages);
  deployment.doubled = doubled;
  deployment.epoch = next_epoch_++;
  deployment.life = DeploymentLife::kAllowing;
  deployment.waiting_since_us = 0;
  ++moves_;
}

Deployment* Deployments::find_id(std::uint64_t id) {
  const auto found = all_.find(id);
  return found == all_.end() ? nullptr : &found->second;
}

Deployment* Deployments::find_epoch(std::uint64_t epoch) {
  for (auto& [id, deployment] : all_) {
    if (deployment.epoch == epoch) return &deployment;
  }
  return nullptr;
}

Deployment* Deployments::find(const std::string& model,
                              const std::vector<model::LayerRange>& ranges, std::uint8_t kv) {
  for (auto& [id, deployment] : all_) {
    if (deployment.manifest.model != model || deployment.life == DeploymentLife::kFailed) continue;
    if (deployment.kv != kv) continue;
    const bool same = ranges.size() == deployment.stages.size() &&
                      std::equal(ranges.begin(), ranges.end(), deployment.stages.begin(),
                                 [](const auto& a, const auto& b) { return a == b.layers; });
    if (ranges.empty() || same || ranges == deployment.asked) return &deployment;
  }
  return nullptr;
}

bool Deployments::wants(const net::PublicKey& node, std::uint64_t epoch) const {
  return std::any_of(all_.begin(), all_.end(), [&](const auto& entry) {
    const auto& [id, deployment] = entry;
    const auto& kept = deployment.kept;
    return (deployment.epoch == epoch && deployment.on(node)) ||
           std::find(kept.begin(), kept.end(), std::pair(node, epoch)) != kept.end();
  });
}

std::vector<std::uint64_t> Deployments::on_node(const net::PublicKey& node) const {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, deployment] : all_) {
    if (deployment.on(node)) ids.push_back(id);
  }
  return ids;
}

std::vector<std::uint64_t> Deployments::replicas(const Deployment& deployment) const {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, other] : all_) {
    const bool alike = other.manifest.model == deployment.manifest.model &&
                       other.kv == deployment.kv && other.asked == deployment.asked;
    if (alike && other.life != DeploymentLife::kFailed) ids.push_back(id);
  }
  return ids;
}

std::set<net::PublicKey> Deployments::avoided(const Deployment& deployment) const {
  std::set<net::PublicKey> nodes = deployment.left_out();
  for (const std::uint64_t id : replicas(deployment)) {
    if (id == deployment.id) continue;
    for (const StagePlan& stage : all_.at(id).stages) nodes.insert(stage.node);
  }
  return nodes;
}

bool Deployments::allowed(const net::PublicKey& node, std::uint64_t epoch) {
  Deployment* deployment = find_epoch(epoch);
  if (deployment == nullptr || deployment->life != DeploymentLife::kAllowing) return false;
  bool all = true;
  for (StagePlan& stage : deployment->stages) {
    if (stage.node == node) stage.allowed = true;
    all = all && stage.allowed;
  }
  if (all) deployment->life = DeploymentLife::kLoading;
  return all;
}

bool Deployments::loaded(const net::PublicKey& node, std::uint64_t epoch,
                         std::uint64_t weights_bytes) {
  Deployment* deployment = find_epoch(epoch);
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

void Deployments::wait(std::uint64_t id, std::int64_t now_us) {
  Deployment& deployment = all_.at(id);
  if (deployment.life != DeploymentLife::kWaiting) deployment.waiting_since_us = now_us;
  deployment.life = DeploymentLife::kWaiting;
  // No node holds layers of the deployment any more: the stages on the nodes that are left have
  // ended, too.
  for (StagePlan& stage : deployment.stages) {
    stage.loaded = false;
    stage.weights_bytes = 0;
  }
}

std::vector<std::pair<std::uint64_t, bool>> Deployments::waiting(std::int64_t now_us) const {
  std::vector<std::pair<std::uint64_t, bool>> ids;
  for (const auto& [id, deployment] : all_) {
    if (deployment.life != DeploymentLife::kWaiting) continue;
    ids.emplace_back(id, now_us - deployment.waiting_since_us >= kNobodyLeftUs);
  }
  return ids;
}

void Deployments::forget_source(const net::PublicKey& client) {
  for (auto& [id, deployment] : all_) std::erase(deployment.sources, client);
}

void Deployments::forget_failures(const net::PublicKey& node) {
  for (auto& [id, deployment] : all_) {
    deployment.unfit.erase(node);
    deployment.cut_off.erase(node);
  }
}

}  // namespace troupe::actors
