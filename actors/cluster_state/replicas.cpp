#include <algorithm>

#include <troupe/actors/cluster_state/placement.h>
#include <troupe/actors/cluster_state/replicas.h>

namespace troupe::actors {

Result<std::uint64_t> place_replica(ClusterState& state, std::uint64_t id) {
  const Deployment& eldest = state.deployments.at(id);
  std::set<net::PublicKey> taken = state.deployments.avoided(eldest);
  for (const StagePlan& stage : eldest.stages) taken.insert(stage.node);
  const Workers workers = state.members.workers(taken);
  if (workers.size() < std::max<std::size_t>(1, eldest.asked.size())) {
    return Status(Code::kUnavailable, "no node is left for one more replica");
  }
  Deployment replica{DeploymentSpec(eldest)};
  TROUPE_ASSIGN_OR_RETURN(replica.stages, share_out(state, workers, replica, replica.asked));
  std::vector<model::Placement> all;
  for (const std::uint64_t one : state.deployments.replicas(eldest)) {
    all.push_back(placement_of(state, state.deployments.at(one)));
  }
  all.push_back(placement_of(state, replica));
  if (!model::replica_pays(all)) {
    return Status(Code::kUnavailable, "streams would gain too little from one more replica");
  }
  return state.deployments.add(std::move(replica));
}

std::vector<double> stream_speeds(const ClusterState& state,
                                  const std::vector<std::uint64_t>& ids) {
  std::vector<double> predicted, threads;
  for (const std::uint64_t id : ids) {
    const Deployment& deployment = state.deployments.at(id);
    double here = 0;
    for (const StagePlan& stage : deployment.stages) {
      const NodeRecord* record = state.members.find(stage.node);
      if (record != nullptr) here += record->threads;
    }
    threads.push_back(std::max(1.0, here));
    const model::Placement placed = placement_of(state, deployment);
    if (placed.nodes.costs.empty()) continue;
    predicted.push_back(model::predict(placed.shape, placed.nodes, placed.ranges).streams_tok_s);
  }
  return predicted.size() == ids.size() ? predicted : threads;
}

}  // namespace troupe::actors
