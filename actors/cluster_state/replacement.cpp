#include <algorithm>
#include <set>

#include <troupe/actors/cluster_state/placement.h>
#include <troupe/actors/cluster_state/replacement.h>

namespace troupe::actors {
namespace {

// Returns where a deployment would be placed if exactly these nodes were unfit.
Result<std::vector<StagePlan>> places(const ClusterState& state, const Deployment& deployment,
                                      const std::set<net::PublicKey>& unfit, bool grow) {
  const Workers workers = state.members.workers(unfit);
  const auto left = [&](const net::PublicKey& key) {
    return std::find_if(workers.begin(), workers.end(),
                        [&](const NodeRecord* node) { return node->key == key; });
  };
  Workers spares;
  for (const NodeRecord* node : workers) {
    if (!deployment.on(node->key)) spares.push_back(node);
  }
  // Keeps the order of layers: the nodes that are left, and a spare node in the place of each lost
  // one.
  Workers chosen;
  std::vector<model::LayerRange> ranges;
  auto spare = spares.begin();
  for (const StagePlan& stage : deployment.stages) {
    ranges.push_back(stage.layers);
    if (const auto found = left(stage.node); found != workers.end()) {
      chosen.push_back(*found);
    } else if (spare != spares.end()) {
      chosen.push_back(*spare++);
    }
  }
  Workers everyone = chosen;
  everyone.insert(everyone.end(), spare, spares.end());
  if (everyone.empty()) {
    return Status(Code::kUnavailable, "no node is left that could hold its layers");
  }
  // A node that comes back gets its earlier place.
  if (grow) state.orders.sort(everyone, deployment);
  Result<std::vector<StagePlan>> stages = Status(Code::kUnavailable, "");
  if (!grow && !chosen.empty()) {
    const bool as_before = chosen.size() == ranges.size();
    stages =
        share_out(state, chosen, deployment, as_before ? ranges : std::vector<model::LayerRange>());
  } else if (everyone.size() >= deployment.asked.size()) {
    stages = share_out(state, everyone, deployment, deployment.asked);
  }
  if (!stages) stages = share_out(state, everyone, deployment, {});
  return stages;
}

}  // namespace

Status place_again(ClusterState& state, std::uint64_t id, bool grow) {
  Deployment& deployment = state.deployments.at(id);
  auto stages = places(state, deployment, state.deployments.avoided(deployment), grow);
  const bool alone = stages.is_ok();
  if (!alone) stages = places(state, deployment, deployment.left_out(), grow);
  if (!stages) return stages.status();
  const bool eldest = state.deployments.replicas(deployment).front() == id;
  state.deployments.move(deployment, std::move(*stages), !alone);
  if (eldest) state.orders.remember(deployment);
  return Status::ok();
}

std::map<net::PublicKey, model::LayerRange> wanted_copies(const ClusterState& state,
                                                          std::uint64_t id) {
  const Deployment& deployment = state.deployments.at(id);
  std::map<net::PublicKey, model::LayerRange> wanted;
  for (const StagePlan& lost : deployment.stages) {
    std::set<net::PublicKey> unfit = deployment.left_out();
    unfit.insert(lost.node);
    const auto after = places(state, deployment, unfit, false);
    if (!after) continue;
    for (const StagePlan& stage : *after) {
      model::LayerRange& layers = wanted.emplace(stage.node, stage.layers).first->second;
      layers.begin = std::min(layers.begin, stage.layers.begin);
      layers.end = std::max(layers.end, stage.layers.end);
    }
  }
  return wanted;
}

bool has_other_workers(const ClusterState& state, const net::PublicKey& node,
                       const Deployment& deployment) {
  std::set<net::PublicKey> unfit = deployment.left_out();
  unfit.insert(node);
  return !state.members.workers(unfit).empty();
}

bool can_grow(const ClusterState& state, const Deployment& deployment) {
  const std::set<net::PublicKey> unfit = state.deployments.avoided(deployment);
  const std::size_t there = std::min(state.members.workers(unfit).size(), deployment.layers);
  if (deployment.stages.size() >= std::min(deployment.stages_wanted, there)) return false;
  // A node without memory for even one layer does not help.
  const auto grown = places(state, deployment, unfit, true);
  return grown && grown->size() > deployment.stages.size();
}

}  // namespace troupe::actors
