#include <troupe/actors/coordinator/shell.h>

namespace troupe::actors::coordinator {
namespace {

// A connection that broke says nothing about who is to blame, when the process behind it has died;
// its lease or its other connections tell first.
constexpr std::int64_t kVerdictUs = 300'000;
// A first stage that is loaded and cannot be reached for so long is no first stage.
constexpr std::int64_t kWayUs = 5'000'000;

std::string name_of(Self self, const net::PublicKey& key) {
  const NodeRecord* node = self->state.state->node(key);
  return node != nullptr ? node->name : "?";
}

std::string layers_on(const Deployment& deployment, const net::PublicKey& key) {
  for (const StagePlan& stage : deployment.stages) {
    if (stage.node == key) return model::to_string(stage.layers);
  }
  return "none";
}

// The stages of before end. Whoever gets layers again keeps its weights until they are loaded.
void let_go(Self self, const Setup& setup, const std::vector<StagePlan>& before,
            std::uint64_t epoch, Deployment& after) {
  for (const StagePlan& stage : before) {
    const NodeRecord* node = self->state.state->node(stage.node);
    if (node == nullptr || !node->alive()) continue;
    const bool keep = after.on(stage.node);
    if (keep) after.kept.emplace_back(stage.node, epoch);
    tell(setup, stage.node, MessageType::kUnloadStage, UnloadStage{epoch, keep}, epoch);
  }
}

void place_again(Self self, const Setup& setup, Deployment& deployment, bool grow) {
  ClusterState& state = *self->state.state;
  const std::vector<StagePlan> before = deployment.stages;
  const std::uint64_t epoch = deployment.epoch;
  Status placed = state.replace(deployment.id, grow);
  // Models that nobody uses make room for one that somebody does.
  while (placed.code() == Code::kResourceExhausted && in_use(self, deployment.id) &&
         make_room(self, setup, {deployment.id})) {
    placed = state.replace(deployment.id, grow);
  }
  if (placed) {
    let_go(self, setup, before, epoch, deployment);
    begin_allowing(self, setup, deployment);
    return;
  }
  if (deployment.life != DeploymentLife::kWaiting) {
    let_go(self, setup, before, epoch, deployment);
    log(LogLevel::kWarning, "a model waits for a node: " + placed.message());
    state.wait(deployment.id, monotonic_us());
  }
  deployment.lost_for = placed.message();
}

}  // namespace

void recover(Self self, const Setup& setup, std::uint64_t id, const std::string& lost,
             const std::string& crashed, bool grow) {
  Deployment* deployment = self->state.state->find_id(id);
  if (deployment == nullptr) return;
  log(LogLevel::kInfo, "placing " + deployment->manifest.name + " anew: " + lost);
  deployment->lost = lost;
  // From here on nothing of the old epoch counts.
  setup->link->detach_engine(deployment->epoch);
  self->state.wanted_ways.erase(deployment->epoch);
  const auto engine = self->state.engines.find(id);
  if (engine != self->state.engines.end()) {
    self->send(engine->second.engine, halt_atom::value, crashed);
  }
  place_again(self, setup, *deployment, grow);
}

void lose_node(Self self, const Setup& setup, const net::PublicKey& key, const char* how,
               bool died) {
  const std::string name = name_of(self, key);
  log(LogLevel::kWarning, "node " + name + " is gone: " + how);
  if (setup->jobs) {
    self->send(setup->jobs, halt_atom::value,
               std::string(reinterpret_cast<const char*>(key.data()), key.size()));
  }
  // What we dialled of it closes by itself, or, when it is frozen, serves again: ZeroMQ 4.3.4 may
  // abort (session_base.cpp:260) when a socket is closed just as its peer dies.
  for (const std::uint64_t id : self->state.state->on_node(key)) {
    const Deployment* deployment = self->state.state->find_id(id);
    if (deployment == nullptr) continue;  // it has made room for the one before
    const std::string layers = layers_on(*deployment, key);
    recover(self, setup, id,
            "node " + name + ", which held layers " + layers + ", is gone (" + how + ")",
            died ? name : "");
  }
}

void on_stage_failed(Self self, const Setup& setup, const net::PublicKey& node,
                     const StageFailed& failed) {
  Deployment* deployment = self->state.state->find(failed.epoch);
  if (deployment == nullptr || !deployment->on(node)) return;  // of an epoch that is over
  const std::string name = name_of(self, node);
  if (failed.blame == StageFailed::kStage) {
    const std::string why = "node " + name + " cannot load its layers: " + failed.outcome.text;
    // The first time it is the asker who must hear of it, unless others may have what this node
    // lacks: room on its disk, or memory.
    const bool elsewhere = failed.outcome.status().code() == Code::kResourceExhausted &&
                           self->state.state->others_than(node, *deployment);
    if (!self->state.engines.contains(deployment->id) && !elsewhere) {
      return end_deployment(self, setup, deployment->id,
                            Status(failed.outcome.status().code(), why));
    }
    const bool retry = self->state.fresh_sources.contains(deployment->id);
    if (!retry) deployment->unfit.insert(node);
    return recover(self, setup, deployment->id, why, "");
  }
  std::string why = "node " + name + " has lost its way to the next: " + failed.outcome.text;
  if (failed.blame == StageFailed::kNext) {
    // Of two that do not reach each other one must go. Tokens go to the head: it stays.
    net::PublicKey unfit = node;
    for (std::size_t i = 0; i + 1 < deployment->stages.size(); ++i) {
      const net::PublicKey next = deployment->stages[i + 1].node;
      if (deployment->stages[i].node == node && next != setup->link->self()) unfit = next;
    }
    deployment->unfit.insert(unfit);
    why += "; " + name_of(self, unfit) + " is left out";
  }
  recover(self, setup, deployment->id, why, "");
}

void look_after_lost(Self self, const Setup& setup) {
  ClusterState& state = *self->state.state;
  const std::int64_t now = monotonic_us();
  for (const auto& [id, expired] : state.waiting(now)) {
    Deployment* deployment = state.find_id(id);
    if (deployment == nullptr) continue;  // it has made room for the one before
    place_again(self, setup, *deployment, false);
    if (deployment->life != DeploymentLife::kWaiting || !expired) continue;
    end_deployment(
        self, setup, id,
        Status(Code::kUnavailable,
               deployment->lost + "; " + deployment->lost_for + ", and none came within " +
                   std::to_string(kNobodyLeftUs / 1'000'000) + " s; start one, then ask again"));
  }
  // Deployments whose engine lost its way to the first stage, or does not find it.
  const auto blame = [&](const net::PublicKey& first, bool open, std::uint64_t epoch) {
    Deployment* deployment = state.find(epoch);
    if (deployment == nullptr || deployment->stages.front().node != first) return;
    // It waits for a node already: why it does is known better.
    if (deployment->life == DeploymentLife::kWaiting) return;
    if (!open) deployment->unfit.insert(first);
    recover(self, setup, deployment->id, "the way to node " + name_of(self, first) + " was lost",
            "");
  };
  for (const auto& [key, since] : std::map(self->state.lost_ways)) {
    if (now - since < kVerdictUs) continue;
    self->state.lost_ways.erase(key);
    for (const auto& [id, entry] : std::map(self->state.engines)) {
      blame(key, self->state.open_ways.contains(key), entry.epoch);
    }
  }
  for (const auto& [epoch, since] : std::map(self->state.wanted_ways)) {
    if (now - since < kWayUs) continue;
    self->state.wanted_ways.erase(epoch);
    if (const Deployment* deployment = state.find(epoch)) {
      blame(deployment->stages.front().node, false, epoch);
    }
  }
}

}  // namespace troupe::actors::coordinator
