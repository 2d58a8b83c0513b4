#include <algorithm>
#include <utility>

#include <troupe/actors/coordinator/shell.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/planning/memory_need.h>

namespace troupe::actors::coordinator {
namespace {

constexpr std::size_t kWaitingMax = 1024;  // opens that wait for one deployment
// Copies of layers are made when a new deployment has come to rest.
constexpr std::int64_t kCopiesAfterUs = 1'000'000;
constexpr std::int64_t kCopiesAllowUs = 500'000;
// After a failure, and twice as long after each more, up to ten minutes: a source was gone, a disk
// was full.
constexpr std::int64_t kCopiesAgainUs = 5'000'000;
constexpr unsigned kCopiesDoublings = 7;

void answer_waiting(Self self, std::uint64_t id, const ModelReady& ready) {
  const auto found = self->state.waiting.find(id);
  if (found == self->state.waiting.end()) return;
  const std::vector<Reply> replies = std::move(found->second);
  self->state.waiting.erase(found);
  for (const Reply& reply : replies) reply(ready);
}

// How long a first answer waits for measurements at most; most nodes take a second, those
// of one host one after the other.
constexpr std::int64_t kMeasurePatienceUs = 5'000'000;

// Plans a model in the place of others; where memory is short still, those that nobody uses make
// room. None does for a model that would not fit even then.
Result<std::uint64_t> plan_with_room(Self self, const Setup& setup, const Opening& opening,
                                     const std::set<std::uint64_t>& instead_of) {
  ClusterState& state = *self->state.state;
  TROUPE_ASSIGN_OR_RETURN(const ModelAsk ask, ask_of(setup, opening, opening.open.context));
  Deployment at_most(ask);
  at_most.instead_of = unused(self);
  const Status fits = state.outlook(at_most, {}).status();
  if (fits.code() == Code::kResourceExhausted) return fits;
  for (;;) {
    auto planned = state.plan(ask, instead_of);
    if (planned || planned.code() != Code::kResourceExhausted ||
        !make_room(self, setup, instead_of)) {
      return planned;
    }
  }
}

bool is_idle(Self self, std::uint64_t id) {
  const auto engine = self->state.engines.find(id);
  return engine != self->state.engines.end() && engine->second.idle();
}

// Askers know a deployment by its id, whatever becomes of its epochs.
ModelReady ready_answer(Self self, const Deployment& deployment) {
  ModelReady ready;
  ready.deployment = deployment.id;
  ready.stages = self->state.state->stage_names(deployment);
  return ready;
}

// Whoever brings the model may be what a node lacked.
void add_source(Self self, Deployment& deployment, const net::PublicKey& source) {
  auto& sources = deployment.sources;
  if (std::find(sources.begin(), sources.end(), source) != sources.end()) return;
  sources.push_back(source);
  deployment.unfit.clear();
  self->state.fresh_sources.insert(deployment.id);
}

// The header is here: find or make the deployment.
void place(Self self, const Setup& setup, Opening opening) {
  ClusterState& state = *self->state.state;
  const auto refuse_all = [&](const Status& why) {
    for (const Reply& reply : opening.replies) reply(refusal(why));
  };
  Deployment* deployment = state.find(opening.open.model, opening.ranges, opening.open.kv);
  if (deployment == nullptr) {
    if (setup->measures && !opening.measured && opening.ranges.empty()) {
      opening.measured = true;
      const auto config = config_of(setup, opening);
      const auto again = [self, setup, opening] { place(self, setup, opening); };
      if (config &&
          measure_first(self, setup, opening.open, *config, kMeasurePatienceUs, false, again)) {
        return;
      }
    }
    // Another split of this model that nobody uses makes room, once it is sure that this one can
    // be.
    std::set<std::uint64_t> others = unused(self);
    std::erase_if(others, [&](std::uint64_t id) {
      return state.find_id(id)->manifest.model != opening.open.model;
    });
    const auto planned = plan_with_room(self, setup, opening, others);
    if (!planned) return refuse_all(planned.status());
    for (const std::uint64_t id : others) {
      end_deployment(self, setup, id,
                     Status(Code::kCancelled, "the model was placed anew; ask again"));
    }
    deployment = state.find(*planned);
    auto& waiting = self->state.waiting[*planned];
    waiting.insert(waiting.end(), opening.replies.begin(), opening.replies.end());
    begin_allowing(self, setup, *deployment);
    return;
  }
  for (const net::PublicKey& source : opening.sources) add_source(self, *deployment, source);
  if (deployment->life == DeploymentLife::kWaiting &&
      self->state.fresh_sources.contains(deployment->id)) {
    recover(self, setup, deployment->id, deployment->lost, "");
  }
  // A node is back, or new, and nobody is disturbed when it takes its share.
  if (is_idle(self, deployment->id) && state.can_grow(*deployment)) {
    recover(self, setup, deployment->id, "there are more nodes than it lies on", "", true);
  }
  // Replicas of a split that happens to be the asked one may be split otherwise.
  const bool alone =
      opening.open.alone || (!opening.ranges.empty() && opening.ranges != deployment->asked);
  Deployment* here = alone ? deployment : least_busy(self, *deployment);
  if (here != nullptr && is_serving(self, *here)) {
    const ModelReady ready = ready_answer(self, *here);
    for (const Reply& reply : opening.replies) {
      self->state.engines.at(here->id).opened(monotonic_us());
      reply(ready);
    }
    if (!alone) replicate_when_busy(self, setup, *deployment);
    return;
  }
  auto& waiting = self->state.waiting[deployment->id];
  if (waiting.size() + opening.replies.size() > kWaitingMax) {
    return refuse_all(Status(Code::kResourceExhausted,
                             "too many requests wait for this model to load; try again later"));
  }
  waiting.insert(waiting.end(), opening.replies.begin(), opening.replies.end());
}

Status complete_from_store(Self self, const Setup& setup, OpenModel* open) {
  if (open->has_manifest) return Status::ok();
  const auto known = self->state.manifests.find(open->model);
  if (known != self->state.manifests.end()) {
    open->manifest = known->second;
    open->has_manifest = true;
    return Status::ok();
  }
  if (!setup->store->whole_file(open->model)) {
    return Status(Code::kNotFound,
                  "the cluster does not have the model sha256:" + open->model +
                      "; give its name or path, so that this machine can serve it");
  }
  TROUPE_ASSIGN_OR_RETURN(open->manifest,
                          setup->store->manifest(*setup->store->whole_file(open->model)));
  open->has_manifest = true;
  return Status::ok();
}

}  // namespace

PeerAddress address_of(Self self, const Setup& setup, const net::PublicKey& key) {
  PeerAddress address;
  address.key = key;
  if (key == setup->link->self()) {
    address.role = static_cast<std::uint8_t>(net::Role::kHead);
    address.host = setup->advertise.host;
    address.port = setup->advertise.port;
    return address;
  }
  if (const NodeRecord* node = self->state.state->node(key)) {
    address.role = static_cast<std::uint8_t>(net::Role::kNode);
    address.name = node->name;
    address.host = node->host;
    address.port = node->port;
  } else {
    address.role = static_cast<std::uint8_t>(net::Role::kClient);
  }
  return address;
}

ModelReady refusal(const Status& why) {
  ModelReady ready;
  ready.outcome = why;
  return ready;
}

// First every node lets its peers in: those that hand it hidden states or fetch weights, and
// whoever serves them.
void begin_allowing(Self self, const Setup& setup, const Deployment& deployment) {
  AllowPeers allow;
  allow.epoch = deployment.epoch;
  for (const NodeRecord* node : self->state.state->nodes()) {
    if (node->alive()) allow.peers.push_back(address_of(self, setup, node->key));
  }
  for (const net::PublicKey& source : deployment.sources) {
    if (source != setup->link->self()) allow.peers.push_back(address_of(self, setup, source));
  }
  for (const StagePlan& stage : deployment.stages) {
    tell(setup, stage.node, MessageType::kAllowPeers, allow, deployment.epoch);
  }
}

namespace {

// Whom a node can fetch these layers from: who has the whole model, then who has some of them.
std::vector<PeerAddress> sources_of(Self self, const Setup& setup, const Deployment& deployment,
                                    model::LayerRange layers, const net::PublicKey& node) {
  std::vector<PeerAddress> sources;
  const auto add = [&](const net::PublicKey& key) {
    const bool known = std::any_of(sources.begin(), sources.end(),
                                   [&](const PeerAddress& source) { return source.key == key; });
    if (!known && key != node) sources.push_back(address_of(self, setup, key));
  };
  for (const net::PublicKey& source : deployment.sources) add(source);
  for (const net::PublicKey& holder :
       self->state.state->holders(deployment.manifest.model, layers, node)) {
    add(holder);
  }
  // An earlier run of this head knew what lies on which disk: each is asked.
  const bool from_before = std::any_of(
      setup->placed.begin(), setup->placed.end(),
      [&](const PlacedModel& placed) { return placed.model == deployment.manifest.model; });
  for (const NodeRecord* other : self->state.state->nodes()) {
    if (from_before && other->alive()) add(other->key);
  }
  return sources;
}

void begin_prefetching(Self self, const Setup& setup, const Deployment& deployment) {
  for (const auto& [node, layers] : self->state.state->copies(deployment.id)) {
    Prefetch prefetch;
    prefetch.manifest = deployment.manifest;
    prefetch.layer_begin = static_cast<std::uint32_t>(layers.begin);
    prefetch.layer_end = static_cast<std::uint32_t>(layers.end);
    prefetch.sources = sources_of(self, setup, deployment, layers, node);
    tell(setup, node, MessageType::kPrefetch, prefetch);
  }
}

// Those that nobody took over; nodes that did have let go of theirs already.
void drop_kept(Self self, const Setup& setup, Deployment& deployment) {
  for (const auto& [key, epoch] : std::exchange(deployment.kept, {})) {
    const NodeRecord* node = self->state.state->node(key);
    if (node == nullptr || !node->alive()) continue;
    tell(setup, key, MessageType::kUnloadStage, UnloadStage{epoch}, epoch);
  }
}

}  // namespace

Result<model::ModelConfig> config_of(const Setup& setup, const Opening& opening) {
  TROUPE_ASSIGN_OR_RETURN(const auto source, setup->store->source(opening.open.manifest));
  return model::config_from_gguf(source->header());
}

Result<ModelAsk> ask_of(const Setup& setup, const Opening& opening, std::uint64_t context) {
  TROUPE_ASSIGN_OR_RETURN(const auto source, setup->store->source(opening.open.manifest));
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
  if (!config.causal) {
    return Status(Code::kInvalidArgument,
                  "the model is an encoder (" + config.family +
                      "), which generates no text and is not spread over nodes; 'troupe logits' "
                      "runs it");
  }
  ModelAsk ask;
  ask.manifest = opening.open.manifest;
  ask.layers = config.layers;
  ask.need = model::memory_need(source->header(), config, kv_type_of(opening.open.kv),
                                planned_context(config, context));
  ask.channels = config.channels;
  ask.asked = opening.ranges;
  ask.kv = opening.open.kv;
  ask.context = context;
  ask.sources = opening.sources;
  return ask;
}

// Ends a deployment: its requests and those who wait for it get `why`, its nodes let go.
void end_deployment(Self self, const Setup& setup, std::uint64_t id, const Status& why) {
  Deployment* deployment = self->state.state->find_id(id);
  if (deployment == nullptr) return;
  const std::uint64_t epoch = deployment->epoch;
  deployment->life = DeploymentLife::kFailed;
  answer_waiting(self, id, refusal(why));
  const auto engine = self->state.engines.find(id);
  if (engine != self->state.engines.end()) {
    self->send(engine->second.engine, fail_atom::value, std::make_shared<const Status>(why));
    self->state.engines.erase(engine);
  }
  self->state.fresh_sources.erase(id);
  self->state.no_replica_until.erase(id);
  strike_out(self, setup, id);
  setup->link->detach_engine(epoch);
  for (const StagePlan& stage : deployment->stages) {
    const NodeRecord* node = self->state.state->node(stage.node);
    if (node != nullptr && node->alive()) {
      tell(setup, stage.node, MessageType::kUnloadStage, UnloadStage{epoch}, epoch);
    }
  }
  drop_kept(self, setup, *deployment);
  // What a later start of this head places again is the eldest.
  const auto others = self->state.state->replicas(*deployment);
  const Deployment* heir = others.empty() ? nullptr : self->state.state->find_id(others.front());
  if (heir != nullptr && id < heir->id && is_serving(self, *heir)) write_down(self, setup, *heir);
  self->state.state->erase(id);
}

// Then the holder of the weights dials them, we dial the first stage, and everyone loads.
void begin_loading(Self self, const Setup& setup, const Deployment& deployment) {
  const net::PublicKey me = setup->link->self();
  const std::size_t count = deployment.stages.size();
  self->state.fresh_sources.erase(deployment.id);
  ServePeers serve;
  serve.epoch = deployment.epoch;
  for (const StagePlan& stage : deployment.stages) {
    if (stage.node != me) serve.peers.push_back(address_of(self, setup, stage.node));
  }
  for (const net::PublicKey& source : deployment.sources) {
    if (source != me) tell(setup, source, MessageType::kServePeers, serve, deployment.epoch);
  }
  const PeerAddress first = address_of(self, setup, deployment.stages.front().node);
  if (first.key != me) {
    setup->link->transport()->dial(first.key, {first.host, first.port}, net::Channel::kActivations);
  }
  for (std::size_t i = 0; i < count; ++i) {
    LoadStage load;
    load.epoch = deployment.epoch;
    load.manifest = deployment.manifest;
    load.layer_begin = static_cast<std::uint32_t>(deployment.stages[i].layers.begin);
    load.layer_end = static_cast<std::uint32_t>(deployment.stages[i].layers.end);
    load.kv = deployment.kv;
    load.last = i + 1 == count;
    load.next = address_of(self, setup, load.last ? me : deployment.stages[i + 1].node);
    load.sources =
        sources_of(self, setup, deployment, deployment.stages[i].layers, deployment.stages[i].node);
    tell(setup, deployment.stages[i].node, MessageType::kLoadStage, load, deployment.epoch);
  }
}

void begin_serving(Self self, const Setup& setup, std::uint64_t epoch) {
  Deployment* deployment = self->state.state->find(epoch);
  if (deployment == nullptr || deployment->life != DeploymentLife::kReady) return;
  if (is_serving(self, *deployment)) return;
  const net::PublicKey first = deployment->stages.front().node;
  if (first != setup->link->self() && !self->state.open_ways.contains(first)) {
    self->state.wanted_ways.emplace(epoch, monotonic_us());
    return;
  }
  self->state.wanted_ways.erase(epoch);
  self->state.lost_ways.erase(first);
  drop_kept(self, setup, *deployment);
  const auto waiting = self->state.waiting.find(deployment->id);
  const std::size_t opens = waiting != self->state.waiting.end() ? waiting->second.size() : 0;
  const auto found = self->state.engines.find(deployment->id);
  if (found == self->state.engines.end()) {
    auto engine = make_engine_setup(self, setup, *deployment);
    if (!engine) return end_deployment(self, setup, deployment->id, engine.status());
    engine->coordinator = self;
    engine->replay_counters = self->state.replay_counters;
    EngineEntry entry;
    entry.epoch = epoch;
    entry.context_max = engine->placement.limits.context_max;
    entry.counters = engine->counters;
    entry.used_us = monotonic_us();
    entry.awaited = opens;
    entry.engine = spawn_engine(self->system(), std::move(*engine));
    setup->link->attach_engine(epoch, entry.engine);
    self->state.engines[deployment->id] = std::move(entry);
  } else {
    log(LogLevel::kInfo,
        deployment->manifest.name + " goes on under epoch " + std::to_string(epoch));
    EngineEntry& entry = found->second;
    entry.epoch = epoch;
    for (std::size_t i = 0; i < opens; ++i) entry.opened(monotonic_us());
    setup->link->attach_engine(epoch, entry.engine);
    self->send(entry.engine, resume_atom::value,
               std::make_shared<const EnginePlacement>(
                   engine_placement(self, *deployment, entry.context_max)));
  }
  const std::uint64_t eldest = self->state.state->replicas(*deployment).front();
  if (eldest == deployment->id) {
    write_down(self, setup, *deployment);
  } else {
    self->state.no_replica_until.erase(eldest);
  }
  self->state.copies_due[deployment->id] = {epoch, monotonic_us() + kCopiesAfterUs};
  answer_waiting(self, deployment->id, ready_answer(self, *deployment));
}

void look_after_copies(Self self, const Setup& setup) {
  const std::int64_t now = monotonic_us();
  for (auto it = self->state.copies_due.begin(); it != self->state.copies_due.end();) {
    const Deployment* deployment = self->state.state->find_id(it->first);
    CopiesDue& due = it->second;
    if (deployment == nullptr || deployment->epoch != due.epoch) {
      it = self->state.copies_due.erase(it);
      continue;
    }
    ++it;
    if (due.asked || now < due.at_us) continue;
    if (due.allowed) {
      begin_prefetching(self, setup, *deployment);
      due.asked = true;
    } else {
      // Nodes that came after it was placed fetch, too: they must be let in first.
      begin_allowing(self, setup, *deployment);
      due.allowed = true;
      due.at_us = now + kCopiesAllowUs;
    }
  }
}

void copy_again(Self self, const std::string& model) {
  for (auto& [id, due] : self->state.copies_due) {
    const Deployment* deployment = self->state.state->find_id(id);
    // Of several nodes that fail, the first counts: all are asked again.
    if (!due.asked || deployment == nullptr || deployment->manifest.model != model) continue;
    due.at_us = monotonic_us() + (kCopiesAgainUs << std::min(due.failures, kCopiesDoublings));
    due.asked = due.allowed = false;
    due.failures += 1;
  }
}

void open_model(Self self, const Setup& setup, OpenModel open, const net::PublicKey& from,
                Reply reply, Instead instead) {
  const auto refuse = [&](const Status& why) {
    instead ? instead(why, Opening{}) : reply(refusal(why));
  };
  if (self->state.restoring) {
    auto& held = self->state.restoring->held;
    if (held.size() >= kWaitingMax) {
      return refuse(Status(Code::kResourceExhausted,
                           "too many requests wait for this head's nodes; try again later"));
    }
    held.push_back([=] { open_model(self, setup, open, from, reply, instead); });
    return;
  }
  const auto asked = layer_ranges_of(open);
  if (!asked) return refuse(asked.status());
  const std::vector<model::LayerRange>& ranges = *asked;
  // A deployment that is there needs no file, but may need it when its layers must move.
  Deployment* found = instead ? nullptr : self->state.state->find(open.model, ranges, open.kv);
  if (found != nullptr) {
    if (open.has_manifest && open.manifest.model == open.model) add_source(self, *found, from);
    open.manifest = found->manifest;
    return place(self, setup, {std::move(open), ranges, {}, {std::move(reply)}, {}});
  }
  std::vector<net::PublicKey> sources;
  if (open.has_manifest) {
    if (open.manifest.model != open.model) {
      return refuse(Status(Code::kInvalidArgument, "the manifest is of another model"));
    }
    sources.push_back(from);
  }
  const Status complete = complete_from_store(self, setup, &open);
  if (!complete) return refuse(complete);
  const auto whole_file = setup->store->whole_file(open.model);
  if (whole_file) {
    // The whole model is here: nodes ask us first, the client when we are gone.
    self->send(setup->bulk, std::make_shared<const ExportedFile>(
                                ExportedFile{whole_file->string(), open.manifest}));
    sources.insert(sources.begin(), setup->link->self());
  }
  const bool have_header =
      whole_file.has_value() || setup->store->has_blob(open.manifest.header.sha256);
  const std::uint64_t number = self->state.next_opening++;
  const model::BlobRef header = open.manifest.header;
  self->state.openings[number] = {
      std::move(open), ranges, sources, {std::move(reply)}, std::move(instead)};
  if (have_header) {
    self->send(self, loaded_atom::value, number, std::make_shared<const Status>());
    return;
  }
  const auto fetch = std::make_shared<FetchRequest>();
  fetch->blobs.push_back(header);
  fetch->sources = sources;
  const auto me = caf::actor_cast<caf::strong_actor_ptr>(self);
  fetch->done = [me, number](Status status, std::uint64_t) {
    caf::anon_send(caf::actor_cast<coordinator_actor>(me), loaded_atom::value, number,
                   std::make_shared<const Status>(std::move(status)));
  };
  self->send(setup->bulk, FetchPtr(fetch));
}

void on_header(Self self, const Setup& setup, std::uint64_t number, const Status& status) {
  auto found = self->state.openings.extract(number);
  if (found.empty()) return;
  if (const Instead instead = found.mapped().instead) return instead(status, found.mapped());
  if (!status) {
    for (const Reply& reply : found.mapped().replies) reply(refusal(status));
    return;
  }
  place(self, setup, std::move(found.mapped()));
}

}  // namespace troupe::actors::coordinator
