#include <vector>

#include <troupe/actors/cluster_state/replacement.h>
#include <troupe/actors/coordinator/deploy.h>
#include <troupe/actors/coordinator/keep_alive.h>
#include <troupe/actors/coordinator/peers.h>
#include <troupe/actors/coordinator/recovery.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

namespace troupe::actors::coordinator {
namespace {

// A broken connection does not show which side is to blame if the process behind it has died. For
// this long, the node's lease or its other connections may tell more.
constexpr std::int64_t kVerdictUs = 300'000;
// If a loaded first stage cannot be reached for this long, its node is left out.
constexpr std::int64_t kReachUs = 5'000'000;

std::string layers_on(const Deployment& deployment, const net::PublicKey& key) {
  for (const StagePlan& stage : deployment.stages) {
    if (stage.node == key) return model::to_string(stage.layers);
  }
  return "none";
}

// Ends the stages of an earlier placement. A node that gets layers again keeps the old weights
// until the new ones are loaded.
void let_go(HeadState& head, const std::vector<StagePlan>& before, std::uint64_t epoch,
            Deployment& after) {
  for (const StagePlan& stage : before) {
    if (!head.cluster.members.is_alive(stage.node)) continue;
    const bool keep = after.on(stage.node);
    if (keep) after.kept.emplace_back(stage.node, epoch);
    send(head, stage.node, MessageType::kUnloadStage, UnloadStage{epoch, keep}, epoch);
  }
}

void move_layers(HeadState& head, Deployment& deployment, bool grow) {
  ClusterState& cluster = head.cluster;
  const std::vector<StagePlan> before = deployment.stages;
  const std::uint64_t epoch = deployment.epoch;
  Status placed = place_again(cluster, deployment.id, grow);
  // Models that nobody uses make room for one that somebody uses.
  while (placed.code() == Code::kResourceExhausted && head.in_use(deployment.id, monotonic_us()) &&
         make_room(head, {deployment.id})) {
    placed = place_again(cluster, deployment.id, grow);
  }
  if (placed) {
    let_go(head, before, epoch, deployment);
    begin_allowing(head, deployment);
    return;
  }
  if (deployment.life != DeploymentLife::kWaiting) {
    let_go(head, before, epoch, deployment);
    log(LogLevel::kWarning, "a model waits for a node: " + placed.message());
    head.events.add(EventKind::kWaiting, deployment.manifest.name, placed.message());
    cluster.deployments.wait(deployment.id, monotonic_us());
  }
  deployment.lost_for = placed.message();
}

}  // namespace

void recover(HeadState& head, std::uint64_t id, const std::string& lost, const std::string& crashed,
             bool grow) {
  Deployment* deployment = head.cluster.deployments.find_id(id);
  if (deployment == nullptr) return;
  log(LogLevel::kInfo, "placing " + deployment->manifest.name + " anew: " + lost);
  head.events.add(EventKind::kPlaced, deployment->manifest.name, lost);
  deployment->lost = lost;
  // From here on, nothing of the old epoch counts.
  head.setup->link->detach_engine(deployment->epoch);
  const auto run = head.runs.find(id);
  if (run != head.runs.end()) {
    run->second.unreachable_since_us.reset();
    const auto& engine = run->second.engine;
    if (engine) head.self->send(engine->actor, halt_atom::value, crashed);
  }
  move_layers(head, *deployment, grow);
}

void lose_node(HeadState& head, const net::PublicKey& key, const char* how, bool died) {
  const std::string name = head.cluster.members.name_of(key);
  log(LogLevel::kWarning, "node " + name + " is gone: " + how);
  head.events.add(died ? EventKind::kLost : EventKind::kLeft, name, how);
  if (head.setup->jobs) {
    head.self->send(head.setup->jobs, halt_atom::value,
                    std::string(reinterpret_cast<const char*>(key.data()), key.size()));
  }
  // The connections that we dialled close by themselves, or, if the node is frozen, work again
  // later. We do not close them: ZeroMQ 4.3.4 may abort (session_base.cpp:260) if a socket is
  // closed just as its peer dies.
  for (const std::uint64_t id : head.cluster.deployments.on_node(key)) {
    const Deployment* deployment = head.cluster.deployments.find_id(id);
    if (deployment == nullptr) continue;  // it was ended to make room for an earlier one
    const std::string layers = layers_on(*deployment, key);
    recover(head, id, "node " + name + ", which held layers " + layers + ", is gone (" + how + ")",
            died ? name : "");
  }
}

void on_stage_failed(HeadState& head, const net::PublicKey& node, const StageFailed& failed) {
  Deployment* deployment = head.cluster.deployments.find_epoch(failed.epoch);
  if (deployment == nullptr || !deployment->on(node)) return;  // the epoch is over
  const std::string name = head.cluster.members.name_of(node);
  if (failed.blame == StageFailed::kStage) {
    const std::string why = "node " + name + " cannot load its layers: " + failed.outcome.text;
    // The client must be told at the first failure, unless other nodes may have what this one
    // lacks: room on its disk, or memory.
    const bool elsewhere = failed.outcome.status().code() == Code::kResourceExhausted &&
                           has_other_workers(head.cluster, node, *deployment);
    if (head.engine_of(deployment->id) == nullptr && !elsewhere) {
      return end_deployment(head, deployment->id, Status(failed.outcome.status().code(), why));
    }
    if (!head.runs[deployment->id].has_new_source) deployment->unfit.insert(node);
    return recover(head, deployment->id, why, "");
  }
  std::string why = "node " + name + " has lost its connection to the next: " + failed.outcome.text;
  if (failed.blame == StageFailed::kNext) {
    // One of two nodes that do not reach each other must go. The head's own node stays, because
    // tokens go to the head.
    net::PublicKey cut_off = node;
    for (std::size_t i = 0; i + 1 < deployment->stages.size(); ++i) {
      const net::PublicKey next = deployment->stages[i + 1].node;
      if (deployment->stages[i].node == node && next != head.own_key()) cut_off = next;
    }
    deployment->cut_off[cut_off] = why;
    why += "; " + head.cluster.members.name_of(cut_off) + " is left out";
  }
  recover(head, deployment->id, why, "");
}

namespace {

// Tries again each deployment that waits for a node, and ends those that have waited long enough.
void check_waiting(HeadState& head, std::int64_t now) {
  for (const auto& [id, expired] : head.cluster.deployments.waiting(now)) {
    Deployment* deployment = head.cluster.deployments.find_id(id);
    if (deployment == nullptr) continue;  // it was ended to make room for an earlier one
    move_layers(head, *deployment, false);
    if (deployment->life != DeploymentLife::kWaiting || !expired) continue;
    end_deployment(
        head, id,
        Status(Code::kUnavailable,
               deployment->lost + "; " + deployment->lost_for + ", and none came within " +
                   std::to_string(kNobodyLeftUs / 1'000'000) + " s; start one, then ask again"));
  }
}

// Called when the connection to a deployment's first stage was lost. If it does not open again, the
// node is left out.
void lose_first_stage(HeadState& head, Deployment& deployment, bool open) {
  // If the deployment waits for a node, a better reason is recorded already.
  if (deployment.life == DeploymentLife::kWaiting) return;
  const net::PublicKey first = deployment.stages.front().node;
  const std::string why =
      "the head's connection to node " + head.cluster.members.name_of(first) + " was lost";
  if (!open) deployment.cut_off[first] = why;
  recover(head, deployment.id, why, "");
}

// Checks the engines whose connection to their first stage broke.
void check_lost_connections(HeadState& head, std::int64_t now) {
  std::vector<net::PublicKey> lost;
  for (auto& [key, connection] : head.connections) {
    if (!connection.lost_us || now - *connection.lost_us < kVerdictUs) continue;
    connection.lost_us.reset();
    lost.push_back(key);
  }
  for (const net::PublicKey& key : lost) {
    std::vector<std::uint64_t> epochs;
    for (const auto& [id, run] : head.runs) {
      if (run.engine) epochs.push_back(run.engine->epoch);
    }
    for (const std::uint64_t epoch : epochs) {
      Deployment* deployment = head.cluster.deployments.find_epoch(epoch);
      if (deployment == nullptr || deployment->stages.front().node != key) continue;
      lose_first_stage(head, *deployment, head.connections[key].open);
    }
  }
}

// Checks the deployments that are loaded, but whose first stage cannot be reached.
void check_unreachable(HeadState& head, std::int64_t now) {
  std::vector<std::uint64_t> ids;
  for (auto& [id, run] : head.runs) {
    if (!run.unreachable_since_us || now - *run.unreachable_since_us < kReachUs) continue;
    run.unreachable_since_us.reset();
    ids.push_back(id);
  }
  for (const std::uint64_t id : ids) {
    Deployment* deployment = head.cluster.deployments.find_id(id);
    if (deployment != nullptr) lose_first_stage(head, *deployment, false);
  }
}

}  // namespace

void check_lost(HeadState& head) {
  const std::int64_t now = monotonic_us();
  check_waiting(head, now);
  check_lost_connections(head, now);
  check_unreachable(head, now);
}

}  // namespace troupe::actors::coordinator
