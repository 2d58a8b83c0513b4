#include <vector>

#include <troupe/actors/cluster_state/replicas.h>
#include <troupe/actors/coordinator/deploy.h>
#include <troupe/actors/coordinator/replicas.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

namespace troupe::actors::coordinator {
namespace {

// One more replica is placed if each of a model's replicas has more requests than this. Up to this
// number, steps of all requests together cost little more than those of one.
constexpr double kReplicaLoad = 2;
// The pause after a replica that could not be brought to serve.
constexpr std::int64_t kReplicaPauseUs = 30'000'000;

}  // namespace

Deployment* least_busy(HeadState& head, const Deployment& eldest, std::int64_t now_us) {
  Deployments& deployments = head.cluster.deployments;
  const std::vector<std::uint64_t> ids = deployments.replicas(eldest);
  const std::vector<double> speeds =
      ids.size() > 1 ? stream_speeds(head.cluster, ids) : std::vector<double>(ids.size(), 1.0);
  Deployment* best = nullptr;
  double least = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    Deployment& one = deployments.at(ids[i]);
    if (!head.is_serving(one)) continue;
    const double cost = (head.engine_of(one.id)->load(now_us) + 1) / speeds[i];
    // A replica that shares its nodes with another one only finishes the answers that it has.
    const bool better = best == nullptr || (best->doubled && !one.doubled);
    const bool worse = best != nullptr && one.doubled && !best->doubled;
    if (better || (!worse && cost < least)) {
      best = &one;
      least = cost;
    }
  }
  return best;
}

void release_doubled(HeadState& head) {
  const std::int64_t now = monotonic_us();
  std::vector<std::uint64_t> over;
  for (const auto& [id, deployment] : head.cluster.deployments.all()) {
    if (!deployment.doubled || !head.is_serving(deployment) || head.in_use(id, now)) continue;
    const Deployment* other = least_busy(head, deployment, now);
    if (other != nullptr && !other->doubled) over.push_back(id);
  }
  for (const std::uint64_t id : over) {
    log(LogLevel::kInfo, head.cluster.deployments.at(id).manifest.name +
                             " is unloaded where it shares nodes with a replica");
    end_deployment(head, id, Status(Code::kCancelled, "a replica beside it goes on; ask again"));
  }
}

void replicate_when_busy(HeadState& head, const Deployment& eldest) {
  ClusterState& cluster = head.cluster;
  const std::int64_t now = monotonic_us();
  for (const std::uint64_t id : cluster.deployments.replicas(eldest)) {
    if (!head.is_serving(cluster.deployments.at(id))) return;
    if (head.engine_of(id)->load(now) <= kReplicaLoad) return;
  }
  DeploymentRun& run = head.runs[eldest.id];
  if (now < run.no_replica_until_us) return;
  run.no_replica_until_us = now + kReplicaPauseUs;
  const auto planned = place_replica(cluster, eldest.id);
  if (!planned) return;
  const Deployment& replica = cluster.deployments.at(*planned);
  std::string stages;
  for (const StageName& stage : cluster.stage_names(replica)) {
    stages += (stages.empty() ? "" : ", ") + stage.layers + " on " + stage.node;
  }
  log(LogLevel::kInfo, eldest.manifest.name + " gets one more replica: " + stages);
  begin_allowing(head, replica);
}

}  // namespace troupe::actors::coordinator
