#include <algorithm>

#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/model/planning/placement.h>

// ClusterState, the part that knows deployments of one model beside each other.

namespace troupe::actors {

std::vector<std::uint64_t> ClusterState::replicas(const Deployment& deployment) const {
  std::vector<std::uint64_t> ids;
  for (const auto& [id, other] : deployments_) {
    const bool alike = other.manifest.model == deployment.manifest.model &&
                       other.kv == deployment.kv && other.asked == deployment.asked;
    if (alike && other.life != DeploymentLife::kFailed) ids.push_back(id);
  }
  return ids;
}

std::set<net::PublicKey> ClusterState::apart(const Deployment& deployment) const {
  std::set<net::PublicKey> nodes = deployment.unfit;
  for (const std::uint64_t id : replicas(deployment)) {
    if (id == deployment.id) continue;
    for (const StagePlan& stage : deployments_.at(id).stages) nodes.insert(stage.node);
  }
  return nodes;
}

Result<std::uint64_t> ClusterState::plan_replica(std::uint64_t id) {
  const Deployment& eldest = deployments_.at(id);
  std::set<net::PublicKey> taken = apart(eldest);
  for (const StagePlan& stage : eldest.stages) taken.insert(stage.node);
  const Workers workers = usable(taken);
  if (workers.size() < std::max<std::size_t>(1, eldest.asked.size())) {
    return Status(Code::kUnavailable, "no node is left for one more replica");
  }
  Deployment replica{ModelAsk(eldest)};
  TROUPE_ASSIGN_OR_RETURN(replica.stages, share_out(workers, replica, replica.asked));
  std::vector<model::Placement> all;
  for (const std::uint64_t one : replicas(eldest)) all.push_back(placement(deployments_.at(one)));
  all.push_back(placement(replica));
  if (!model::replica_pays(all)) {
    return Status(Code::kUnavailable, "streams would gain too little from one more replica");
  }
  return add(std::move(replica));
}

model::Placement ClusterState::placement(const Deployment& deployment) const {
  Workers workers;
  model::Placement out;
  for (const StagePlan& stage : deployment.stages) {
    const NodeRecord* record = node(stage.node);
    if (record == nullptr) continue;
    workers.push_back(record);
    out.ranges.push_back(stage.layers);
  }
  out.shape = plan_shape(workers, deployment);
  if (deployment.channels != 0) out.nodes = plan_nodes(workers, deployment.manifest.model);
  return out;
}

std::vector<double> ClusterState::speeds(const std::vector<std::uint64_t>& ids) const {
  std::vector<double> predicted, threads;
  for (const std::uint64_t id : ids) {
    const Deployment& deployment = deployments_.at(id);
    double here = 0;
    for (const StagePlan& stage : deployment.stages) {
      const NodeRecord* record = node(stage.node);
      if (record != nullptr) here += record->threads;
    }
    threads.push_back(std::max(1.0, here));
    const model::Placement placed = placement(deployment);
    if (placed.nodes.costs.empty()) continue;
    predicted.push_back(model::predict(placed.shape, placed.nodes, placed.ranges).streams_tok_s);
  }
  return predicted.size() == ids.size() ? predicted : threads;
}

}  // namespace troupe::actors
