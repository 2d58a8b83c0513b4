#include <algorithm>

#include <troupe/actors/coordinator/head_state.h>

namespace troupe::actors::coordinator {

std::uint64_t RunningEngine::expected(std::int64_t now_us) const {
  return now_us - used_us < kOpenGraceUs ? awaited : 0;
}

double RunningEngine::load(std::int64_t now_us) const {
  return static_cast<double>(counters->running + counters->queued + expected(now_us));
}

void RunningEngine::opened(std::int64_t now_us) {
  ++awaited;
  used_us = now_us;
}

void RunningEngine::asked(std::int64_t now_us) {
  ++submitted;
  used_us = now_us;
  if (awaited > 0) --awaited;
}

std::optional<std::int64_t> RunningEngine::left_us(std::optional<std::int64_t> keep_alive_us,
                                                   std::int64_t now_us) const {
  if (!keep_alive_us || !idle()) return std::nullopt;
  const std::int64_t keep = awaited > 0 ? std::max(*keep_alive_us, kOpenGraceUs) : *keep_alive_us;
  return std::max<std::int64_t>(0, used_us + keep - now_us);
}

RunningEngine* HeadState::engine_of(std::uint64_t id) {
  const auto run = runs.find(id);
  return run != runs.end() && run->second.engine ? &*run->second.engine : nullptr;
}

const RunningEngine* HeadState::engine_of(std::uint64_t id) const {
  const auto run = runs.find(id);
  return run != runs.end() && run->second.engine ? &*run->second.engine : nullptr;
}

bool HeadState::is_serving(const Deployment& deployment) const {
  const RunningEngine* engine = engine_of(deployment.id);
  return engine != nullptr && engine->epoch == deployment.epoch &&
         deployment.life == DeploymentLife::kReady;
}

bool HeadState::is_idle(std::uint64_t id) const {
  const RunningEngine* engine = engine_of(id);
  return engine != nullptr && engine->idle();
}

bool HeadState::in_use(std::uint64_t id, std::int64_t now_us) const {
  const auto run = runs.find(id);
  if (run == runs.end()) return false;
  if (!run->second.waiting.empty()) return true;
  const auto& engine = run->second.engine;
  return engine && (!engine->idle() || engine->expected(now_us) > 0);
}

std::set<std::uint64_t> HeadState::unused(std::int64_t now_us) const {
  std::set<std::uint64_t> ids;
  for (const auto& [id, run] : runs) {
    if (run.engine && !in_use(id, now_us)) ids.insert(id);
  }
  return ids;
}

std::optional<std::uint64_t> HeadState::longest_unused(const std::set<std::uint64_t>& except,
                                                       std::int64_t now_us) const {
  std::optional<std::uint64_t> oldest;
  for (const std::uint64_t id : unused(now_us)) {
    if (except.contains(id)) continue;
    if (!oldest || engine_of(id)->used_us < engine_of(*oldest)->used_us) oldest = id;
  }
  return oldest;
}

}  // namespace troupe::actors::coordinator
