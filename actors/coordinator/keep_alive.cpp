#include <troupe/actors/coordinator/shell.h>

// How long models stay: while somebody uses them, then for --keep-alive, and no longer than the
// memory is needed.

namespace troupe::actors::coordinator {

bool is_serving(Self self, const Deployment& deployment) {
  const auto engine = self->state.engines.find(deployment.id);
  return engine != self->state.engines.end() && engine->second.epoch == deployment.epoch &&
         deployment.life == DeploymentLife::kReady;
}

bool in_use(Self self, std::uint64_t id) {
  if (self->state.waiting.contains(id)) return true;
  const auto found = self->state.engines.find(id);
  if (found == self->state.engines.end()) return false;
  const EngineEntry& entry = found->second;
  return !entry.idle() || (entry.awaited > 0 && monotonic_us() - entry.used_us < kOpenGraceUs);
}

std::set<std::uint64_t> unused(Self self) {
  std::set<std::uint64_t> ids;
  for (const auto& [id, entry] : self->state.engines) {
    if (!in_use(self, id)) ids.insert(id);
  }
  return ids;
}

bool make_room(Self self, const Setup& setup, const std::set<std::uint64_t>& except) {
  auto oldest = self->state.engines.end();
  for (auto it = self->state.engines.begin(); it != self->state.engines.end(); ++it) {
    if (except.contains(it->first) || in_use(self, it->first)) continue;
    if (oldest == self->state.engines.end() || it->second.used_us < oldest->second.used_us) {
      oldest = it;
    }
  }
  if (oldest == self->state.engines.end()) return false;
  end_deployment(self, setup, oldest->first,
                 Status(Code::kCancelled, "the model made room for another one; ask again"));
  return true;
}

namespace {

// Nothing while it works, or is placed anew, or waits for a node: that ends by itself.
std::optional<std::int64_t> left_us(Self self, const Setup& setup, std::uint64_t id,
                                    const EngineEntry& entry) {
  const Deployment* deployment = self->state.state->find_id(id);
  if (deployment == nullptr || !is_serving(self, *deployment)) return std::nullopt;
  return entry.left_us(setup->keep_alive_us, monotonic_us());
}

}  // namespace

void release_unused(Self self, const Setup& setup) {
  std::vector<std::uint64_t> unused;
  for (const auto& [id, entry] : self->state.engines) {
    const auto left = left_us(self, setup, id, entry);
    if (left && *left == 0) unused.push_back(id);
  }
  for (const std::uint64_t id : unused) {
    log(LogLevel::kInfo, "unloading " + self->state.state->find_id(id)->manifest.name +
                             ": nobody has used it for " +
                             std::to_string(*setup->keep_alive_us / 1'000'000) + " s");
    end_deployment(
        self, setup, id,
        Status(Code::kCancelled, "the model was unloaded after --keep-alive; ask again"));
  }
}

std::map<std::uint64_t, DeploymentUse> uses_of(Self self, const Setup& setup) {
  std::map<std::uint64_t, DeploymentUse> uses;
  for (const auto& [id, entry] : self->state.engines) {
    DeploymentUse& use = uses[id];
    use.busy = !entry.idle();
    use.running = entry.counters->running;
    use.queued = entry.counters->queued;
    use.requests = entry.submitted;
    use.tokens = entry.counters->tokens;
    use.credits = entry.counters->credits;
    use.credits_in_use = entry.counters->credits_in_use;
    if (const auto left = left_us(self, setup, id, entry)) {
      use.left_s = (*left + 999'999) / 1'000'000;
    }
  }
  return uses;
}

}  // namespace troupe::actors::coordinator
