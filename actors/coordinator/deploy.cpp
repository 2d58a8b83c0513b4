#include <utility>

#include <troupe/actors/bulk/fetch_rights.h>
#include <troupe/actors/coordinator/deploy.h>
#include <troupe/actors/coordinator/engines.h>
#include <troupe/actors/coordinator/left_out.h>
#include <troupe/actors/coordinator/peers.h>
#include <troupe/actors/coordinator/placed_models.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

namespace troupe::actors::coordinator {
namespace {

// Copies of layers are made this long after a new deployment has come to rest.
constexpr std::int64_t kCopiesAfterUs = 1'000'000;
// A node that has not answered an order for this long is sent the order again. Loading takes longer
// than letting peers in; a node that is still loading ignores the repetition.
constexpr std::int64_t kAllowAgainUs = 1'000'000;
constexpr std::int64_t kLoadAgainUs = 5'000'000;

// Ends the kept stages that no new stage took over. Nodes with a new stage have dropped theirs
// already.
void drop_kept(HeadState& head, Deployment& deployment) {
  for (const auto& [key, epoch] : std::exchange(deployment.kept, {})) {
    if (!head.cluster.members.is_alive(key)) continue;
    send(head, key, MessageType::kUnloadStage, UnloadStage{epoch}, epoch);
  }
}

}  // namespace

ModelReady refusal(const HeadState& head, const Status& why) {
  ModelReady ready;
  ready.outcome = why;
  // Nodes that are members but get no layers may be the reason.
  const std::string left_out = left_out_text(head, nullptr);
  if (!left_out.empty()) ready.outcome.text += " (" + left_out + ")";
  return ready;
}

// Makes the answer that the deployment is ready. Clients know it by its id, whatever its epoch is.
ModelReady ready_answer(const HeadState& head, const Deployment& deployment) {
  ModelReady ready;
  ready.deployment = deployment.id;
  ready.arithmetic = deployment.arithmetic;
  ready.stages = head.cluster.stage_names(deployment);
  ready.left_out = left_out_text(head, &deployment);
  return ready;
}

namespace {

// Tells every process that may have parts of the model who may fetch them.
void grant_fetching(HeadState& head, const FetchGrant& grant) {
  head.self->send(head.setup->bulk, std::make_shared<const FetchGrant>(grant));
}

// Tells every process that nobody may fetch the model, which nobody needs any more.
void end_fetching(HeadState& head, const std::string& model) {
  for (const auto& [id, deployment] : head.cluster.deployments.all()) {
    if (deployment.manifest.model == model) return;
  }
  grant_fetching(head, {model, {}, {}});
  AllowPeers nobody;
  nobody.manifest.model = model;
  for (const NodeRecord* node : head.cluster.members.all()) {
    if (!node->alive() || node->key == head.own_key()) continue;
    send(head, node->key, MessageType::kAllowPeers, nobody);
  }
}

}  // namespace

// Introduces the peers. They are the nodes, which hand each other hidden states and fetch weights
// from each other, and the processes that serve the weights.
void begin_allowing(HeadState& head, const Deployment& deployment) {
  AllowPeers allow;
  allow.epoch = deployment.epoch;
  allow.manifest = deployment.manifest;
  allow.fetchers = fetchers_of(head, deployment.manifest.model);
  grant_fetching(head, grant_of(allow.manifest, allow.fetchers));
  for (const NodeRecord* node : head.cluster.members.all()) {
    if (node->alive()) allow.peers.push_back(address_of(head, node->key));
  }
  for (const net::PublicKey& source : deployment.sources) {
    if (source != head.own_key()) allow.peers.push_back(address_of(head, source));
  }
  // Nodes without layers of this deployment may have weights for it on their disks.
  for (const NodeRecord* node : head.cluster.members.all()) {
    if (!node->alive() || node->key == head.own_key() || deployment.on(node->key)) continue;
    send(head, node->key, MessageType::kAllowPeers, allow, deployment.epoch);
  }
  for (const StagePlan& stage : deployment.stages) {
    if (!stage.allowed) send(head, stage.node, MessageType::kAllowPeers, allow, deployment.epoch);
  }
  head.runs[deployment.id].ordered_us = monotonic_us();
}

namespace {

// Tells every node that has not loaded its layers to do so.
void order_loading(HeadState& head, const Deployment& deployment) {
  const std::size_t count = deployment.stages.size();
  for (std::size_t i = 0; i < count; ++i) {
    const StagePlan& stage = deployment.stages[i];
    if (stage.loaded) continue;
    LoadStage load;
    load.epoch = deployment.epoch;
    load.manifest = deployment.manifest;
    load.layer_begin = static_cast<std::uint32_t>(stage.layers.begin);
    load.layer_end = static_cast<std::uint32_t>(stage.layers.end);
    load.kv = deployment.kv;
    load.arithmetic = deployment.arithmetic;
    load.previous = i == 0 ? head.own_key() : deployment.stages[i - 1].node;
    load.last = i + 1 == count;
    load.next = address_of(head, load.last ? head.own_key() : deployment.stages[i + 1].node);
    load.sources = sources_of(head, deployment, stage.layers, stage.node);
    send(head, stage.node, MessageType::kLoadStage, load, deployment.epoch);
  }
  head.runs[deployment.id].ordered_us = monotonic_us();
}

}  // namespace

void begin_loading(HeadState& head, const Deployment& deployment) {
  const net::PublicKey me = head.own_key();
  head.runs[deployment.id].has_new_source = false;
  // The processes that hold the weights dial the nodes, and we dial the first stage.
  ServePeers serve;
  serve.epoch = deployment.epoch;
  serve.manifest = deployment.manifest;
  serve.fetchers = fetchers_of(head, deployment.manifest.model);
  for (const StagePlan& stage : deployment.stages) {
    if (stage.node != me) serve.peers.push_back(address_of(head, stage.node));
  }
  for (const net::PublicKey& source : deployment.sources) {
    if (source != me) send(head, source, MessageType::kServePeers, serve, deployment.epoch);
  }
  const PeerAddress first = address_of(head, deployment.stages.front().node);
  if (first.key != me) {
    head.setup->link->transport()->dial(first.key, {first.host, first.port},
                                        net::Channel::kActivations);
  }
  order_loading(head, deployment);
}

void check_orders(HeadState& head) {
  const std::int64_t now = monotonic_us();
  for (const auto& [id, deployment] : head.cluster.deployments.all()) {
    const auto run = head.runs.find(id);
    if (run == head.runs.end()) continue;
    const std::int64_t since = now - run->second.ordered_us;
    if (deployment.life == DeploymentLife::kAllowing && since > kAllowAgainUs) {
      begin_allowing(head, deployment);
    } else if (deployment.life == DeploymentLife::kLoading && since > kLoadAgainUs) {
      order_loading(head, deployment);
    }
  }
}

namespace {

PathPeers path_of(const Deployment& deployment) {
  PathPeers path{deployment.stages.back().node, {}};
  for (const StagePlan& stage : deployment.stages) path.stages.push_back(stage.node);
  return path;
}

// Starts the deployment's engine, or tells the engine where the layers lie now. `opens` is the
// number of requests that are about to come.
Status run_engine(HeadState& head, const Deployment& deployment, DeploymentRun& run,
                  std::size_t opens) {
  const std::int64_t now = monotonic_us();
  if (run.engine) {
    log(LogLevel::kInfo,
        deployment.manifest.name + " goes on under epoch " + std::to_string(deployment.epoch));
    RunningEngine& engine = *run.engine;
    engine.epoch = deployment.epoch;
    for (std::size_t i = 0; i < opens; ++i) engine.opened(now);
    head.setup->link->attach_engine(deployment.epoch, path_of(deployment), engine.actor);
    EnginePlacement placement = engine_placement(head, deployment, engine.context_max);
    engine.positions_max = placement.limits.positions_max;
    head.self->send(engine.actor, resume_atom::value,
                    std::make_shared<const EnginePlacement>(std::move(placement)));
    return Status::ok();
  }
  TROUPE_ASSIGN_OR_RETURN(EngineSetup setup, make_engine_setup(head, deployment));
  setup.coordinator = head.self;
  setup.replay_counters = head.replay_counters;
  RunningEngine engine;
  engine.epoch = deployment.epoch;
  engine.context_max = setup.placement.limits.context_max;
  engine.positions_max = setup.placement.limits.positions_max;
  engine.counters = setup.counters;
  engine.used_us = now;
  engine.awaited = opens;
  engine.actor = spawn_engine(head.self->system(), std::move(setup));
  head.setup->link->attach_engine(deployment.epoch, path_of(deployment), engine.actor);
  run.engine = std::move(engine);
  return Status::ok();
}

}  // namespace

void begin_serving(HeadState& head, std::uint64_t epoch) {
  Deployment* deployment = head.cluster.deployments.find_epoch(epoch);
  if (deployment == nullptr || deployment->life != DeploymentLife::kReady) return;
  if (head.is_serving(*deployment)) return;
  DeploymentRun& run = head.runs[deployment->id];
  const net::PublicKey first = deployment->stages.front().node;
  if (first != head.own_key() && !head.connections[first].open) {
    if (!run.unreachable_since_us) run.unreachable_since_us = monotonic_us();
    return;
  }
  run.unreachable_since_us.reset();
  head.connections[first].lost_us.reset();
  drop_kept(head, *deployment);
  const Status running = run_engine(head, *deployment, run, run.waiting.size());
  if (!running) return end_deployment(head, deployment->id, running);
  const std::uint64_t eldest = head.cluster.deployments.replicas(*deployment).front();
  if (eldest == deployment->id) {
    record_deployment(head, *deployment);
  } else {
    head.runs[eldest].no_replica_until_us = 0;
  }
  run.copies = CopiesDue{epoch, monotonic_us() + kCopiesAfterUs};
  const ModelReady ready = ready_answer(head, *deployment);
  for (const Reply& reply : std::exchange(run.waiting, {})) reply(ready);
}

void end_deployment(HeadState& head, std::uint64_t id, const Status& why) {
  Deployment* deployment = head.cluster.deployments.find_id(id);
  if (deployment == nullptr) return;
  const std::uint64_t epoch = deployment->epoch;
  deployment->life = DeploymentLife::kFailed;
  if (const auto run = head.runs.extract(id)) {
    for (const Reply& reply : run.mapped().waiting) reply(refusal(head, why));
    if (const auto& engine = run.mapped().engine) {
      head.self->send(engine->actor, fail_atom::value, std::make_shared<const Status>(why));
    }
  }
  erase_deployment(head, id);
  head.setup->link->detach_engine(epoch);
  for (const StagePlan& stage : deployment->stages) {
    if (!head.cluster.members.is_alive(stage.node)) continue;
    send(head, stage.node, MessageType::kUnloadStage, UnloadStage{epoch}, epoch);
  }
  drop_kept(head, *deployment);
  // A later start of this head places only the eldest replica again.
  const auto others = head.cluster.deployments.replicas(*deployment);
  const Deployment* heir =
      others.empty() ? nullptr : head.cluster.deployments.find_id(others.front());
  if (heir != nullptr && id < heir->id && head.is_serving(*heir)) record_deployment(head, *heir);
  const std::string model = deployment->manifest.model;
  head.cluster.deployments.erase(id);
  end_fetching(head, model);
}

}  // namespace troupe::actors::coordinator
