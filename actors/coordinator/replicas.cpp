#include <troupe/actors/coordinator/shell.h>

// A model that fits several times: which of its deployments is asked, and when there is one more.

namespace troupe::actors::coordinator {
namespace {

// Where each of a model's replicas has more requests than this there is one more: the steps of so
// few cost little more together than one by one. And the pause after one that did not come to
// serve.
constexpr double kReplicaLoad = 2;
constexpr std::int64_t kReplicaPauseUs = 30'000'000;

// Requests that it has, or is about to have.
double load_of(const EngineEntry& entry) {
  const bool awaited = monotonic_us() - entry.used_us < kOpenGraceUs;
  return static_cast<double>(entry.counters->running + entry.counters->queued +
                             (awaited ? entry.awaited : 0));
}

}  // namespace

Deployment* least_busy(Self self, const Deployment& eldest) {
  ClusterState& state = *self->state.state;
  const std::vector<std::uint64_t> ids = state.replicas(eldest);
  const std::vector<double> speeds =
      ids.size() > 1 ? state.speeds(ids) : std::vector<double>(ids.size(), 1.0);
  Deployment* best = nullptr;
  double least = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    Deployment* one = state.find_id(ids[i]);
    if (!is_serving(self, *one)) continue;
    const double cost = (load_of(self->state.engines.at(ids[i])) + 1) / speeds[i];
    // One that shares its nodes with another only answers what it has.
    const bool better = best == nullptr || (best->doubled && !one->doubled);
    const bool worse = best != nullptr && one->doubled && !best->doubled;
    if (better || (!worse && cost < least)) best = one, least = cost;
  }
  return best;
}

void release_doubled(Self self, const Setup& setup) {
  std::vector<std::uint64_t> over;
  for (const auto& [id, deployment] : self->state.state->deployments()) {
    if (!deployment.doubled || !is_serving(self, deployment) || in_use(self, id)) continue;
    const Deployment* other = least_busy(self, deployment);
    if (other != nullptr && !other->doubled) over.push_back(id);
  }
  for (const std::uint64_t id : over) {
    log(LogLevel::kInfo, self->state.state->find_id(id)->manifest.name +
                             " is let go of where it lies beside a replica");
    end_deployment(self, setup, id,
                   Status(Code::kCancelled, "a replica beside it goes on; ask again"));
  }
}

void replicate_when_busy(Self self, const Setup& setup, const Deployment& eldest) {
  ClusterState& state = *self->state.state;
  for (const std::uint64_t id : state.replicas(eldest)) {
    const Deployment* one = state.find_id(id);
    if (!is_serving(self, *one) || load_of(self->state.engines.at(id)) <= kReplicaLoad) return;
  }
  std::int64_t& not_until = self->state.no_replica_until[eldest.id];
  if (monotonic_us() < not_until) return;
  not_until = monotonic_us() + kReplicaPauseUs;
  const auto planned = state.plan_replica(eldest.id);
  if (!planned) return;
  const Deployment& replica = *state.find_id(*planned);
  std::string stages;
  for (const StageName& stage : state.stage_names(replica)) {
    stages += (stages.empty() ? "" : ", ") + stage.layers + " on " + stage.node;
  }
  log(LogLevel::kInfo, eldest.manifest.name + " gets one more replica: " + stages);
  begin_allowing(self, setup, replica);
}

}  // namespace troupe::actors::coordinator
