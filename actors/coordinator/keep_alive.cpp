#include <vector>

#include <troupe/actors/coordinator/deploy.h>
#include <troupe/actors/coordinator/keep_alive.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

namespace troupe::actors::coordinator {
namespace {

// Returns how much longer an engine's model stays loaded. There is no limit while the engine works,
// and none while the deployment is being placed again or waits for a node, since these states end
// by themselves.
std::optional<std::int64_t> left_us(const HeadState& head, std::uint64_t id,
                                    const RunningEngine& engine) {
  const auto deployment = head.cluster.deployments.all().find(id);
  if (deployment == head.cluster.deployments.all().end()) return std::nullopt;
  if (!head.is_serving(deployment->second)) return std::nullopt;
  return engine.left_us(head.setup->keep_alive_us, monotonic_us());
}

}  // namespace

bool make_room(HeadState& head, const std::set<std::uint64_t>& except) {
  const auto oldest = head.longest_unused(except, monotonic_us());
  if (!oldest) return false;
  end_deployment(head, *oldest,
                 Status(Code::kCancelled, "the model made room for another one; ask again"));
  return true;
}

void release_unused(HeadState& head) {
  std::vector<std::uint64_t> unused;
  for (const auto& [id, run] : head.runs) {
    if (!run.engine) continue;
    const auto left = left_us(head, id, *run.engine);
    if (left && *left == 0) unused.push_back(id);
  }
  for (const std::uint64_t id : unused) {
    log(LogLevel::kInfo, "unloading " + head.cluster.deployments.at(id).manifest.name +
                             ": nobody has used it for " +
                             std::to_string(*head.setup->keep_alive_us / 1'000'000) + " s");
    end_deployment(
        head, id, Status(Code::kCancelled, "the model was unloaded after --keep-alive; ask again"));
  }
}

std::map<std::uint64_t, DeploymentUse> uses_of(const HeadState& head) {
  std::map<std::uint64_t, DeploymentUse> uses;
  for (const auto& [id, run] : head.runs) {
    if (!run.engine) continue;
    const RunningEngine& engine = *run.engine;
    DeploymentUse& use = uses[id];
    use.busy = !engine.idle();
    use.running = engine.counters->running;
    use.queued = engine.counters->queued;
    use.requests = engine.submitted;
    use.tokens = engine.counters->tokens;
    use.credits = engine.counters->credits;
    use.credits_in_use = engine.counters->credits_in_use;
    use.blocks_in_use = engine.counters->blocks_in_use;
    use.blocks_idle = engine.counters->blocks_idle;
    use.blocks_max = engine.counters->blocks_max;
    use.prefix_queried = engine.counters->prefix_queried;
    use.prefix_found = engine.counters->prefix_found;
    use.preemptions = engine.counters->preemptions;
    use.drafted = engine.counters->drafted;
    use.accepted = engine.counters->accepted;
    use.askers = engine.counters->askers.get();
    if (const auto left = left_us(head, id, engine)) {
      use.left_s = (*left + 999'999) / 1'000'000;
    }
  }
  return uses;
}

}  // namespace troupe::actors::coordinator
