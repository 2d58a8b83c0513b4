#include <troupe/actors/coordinator/shell.h>
#include <troupe/model/chat_source.h>
#include <troupe/model/chat_template.h>
#include <troupe/model/id_tokenizer.h>
#include <troupe/model/memory_need.h>

namespace troupe::actors::coordinator {
namespace {

constexpr std::size_t kWaitingMax = 1024;  // opens that wait for one deployment
// Positions whose keys and values a placement counts on, where the model has more.
constexpr std::size_t kPlannedContext = 4096;

ModelReady refusal(const Status& why) {
  ModelReady ready;
  ready.code = static_cast<std::uint8_t>(why.code());
  ready.text = why.message();
  return ready;
}

void answer_waiting(Self self, std::uint64_t epoch, const ModelReady& ready) {
  const auto found = self->state.waiting.find(epoch);
  if (found == self->state.waiting.end()) return;
  const std::vector<Reply> replies = std::move(found->second);
  self->state.waiting.erase(found);
  for (const Reply& reply : replies) reply(ready);
}

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

// First every node lets its peers in: the one before it, and whoever serves the weights.
void begin_allowing(Self self, const Setup& setup, const Deployment& deployment) {
  for (std::size_t i = 0; i < deployment.stages.size(); ++i) {
    AllowPeers allow;
    allow.epoch = deployment.epoch;
    if (i > 0) allow.peers.push_back(address_of(self, setup, deployment.stages[i - 1].node));
    for (const net::PublicKey& source : deployment.sources) {
      allow.peers.push_back(address_of(self, setup, source));
    }
    tell(setup, deployment.stages[i].node, MessageType::kAllowPeers, allow, deployment.epoch);
  }
}

// Stands for a template that cannot be used: who asks for a chat is told why.
class BrokenTemplate final : public model::ChatTemplate {
 public:
  explicit BrokenTemplate(const Status& why)
      : why_(Code::kFailedPrecondition, "the model's chat template cannot be used: " +
                                            why.message() + "; give the prompt raw (--raw)") {}
  Result<model::RenderedChat> render_marked(const std::vector<model::ChatMessage>&,
                                            const model::ChatContext&) const override {
    return why_;
  }
  Result<model::RenderedChat> render_json(std::string_view,
                                          const model::ChatContext&) const override {
    return why_;
  }

 private:
  const Status why_;
};

// nullptr: the model has none.
std::shared_ptr<const model::ChatTemplate> chat_template_of(const model::GgufHeader& header) {
  // Requests carry no tools yet.
  const auto source = model::chat_source(header, /*with_tools=*/false);
  if (!source) return std::make_shared<BrokenTemplate>(source.status());
  if (source->empty()) return nullptr;
  auto parsed = model::ChatTemplate::parse(*source);
  if (!parsed) return std::make_shared<BrokenTemplate>(parsed.status());
  return std::move(*parsed);
}

Result<EngineSetup> make_engine_setup(const Setup& setup, const Deployment& deployment) {
  TROUPE_ASSIGN_OR_RETURN(const auto source, setup->store->source(deployment.manifest));
  const model::GgufHeader& header = source->header();
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(header));
  EngineSetup engine;
  engine.epoch = deployment.epoch;
  engine.first_stage = deployment.stages.front().node;
  TROUPE_ASSIGN_OR_RETURN(engine.tokenizer, model::open_tokenizer(header, config.vocabulary));
  engine.chat_template = chat_template_of(header);
  const std::size_t stages = deployment.stages.size();
  engine.limits.stages = stages;
  engine.limits.steps_in_flight_max = stages + 1;
  engine.limits.rows_max = 512;
  // Several stages: shorter chunks, so that all of them work on one prompt at once.
  engine.limits.chunk_rows = stages > 1 ? 128 : 512;
  engine.limits.context_max = config.context_max;
  engine.link = setup->link;
  return engine;
}

// Plans a model; where memory is short, models that nobody uses make room, the one used longest ago
// first.
Result<std::uint64_t> plan_with_room(Self self, const Setup& setup, const Opening& opening) {
  TROUPE_ASSIGN_OR_RETURN(const auto source, setup->store->source(opening.open.manifest));
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
  if (!config.causal) {
    return Status(Code::kInvalidArgument, "the model is an encoder (" + config.family +
                                              "), which generates no text; 'troupe logits' runs "
                                              "it");
  }
  const model::MemoryNeed need =
      model::memory_need(source->header(), config, kv_type_of(opening.open.kv),
                         std::min(config.context_max, kPlannedContext));
  for (;;) {
    auto planned = self->state.state->plan(opening.open.manifest, config.layers, opening.ranges,
                                           opening.sources, opening.open.kv, need);
    if (planned || planned.code() != Code::kResourceExhausted) return planned;
    const std::int64_t now = monotonic_us();
    auto oldest = self->state.engines.end();
    for (auto it = self->state.engines.begin(); it != self->state.engines.end(); ++it) {
      const bool in_use =
          !it->second.idle() || (it->second.awaited > 0 && now - it->second.used_us < kOpenGraceUs);
      const bool older =
          oldest == self->state.engines.end() || it->second.used_us < oldest->second.used_us;
      if (!in_use && older) oldest = it;
    }
    if (oldest == self->state.engines.end()) return planned;
    end_deployment(self, setup, oldest->first,
                   Status(Code::kCancelled, "the model made room for another one; ask again"));
  }
}

// The header is here: find or make the deployment.
void place(Self self, const Setup& setup, Opening opening) {
  ClusterState& state = *self->state.state;
  const auto refuse_all = [&](const Status& why) {
    for (const Reply& reply : opening.replies) reply(refusal(why));
  };
  Deployment* deployment = state.find(opening.open.model, opening.ranges, opening.open.kv);
  if (deployment == nullptr) {
    // Another split of this model that nobody uses makes room.
    std::vector<std::uint64_t> unused;
    for (const auto& [epoch, other] : state.deployments()) {
      const auto engine = self->state.engines.find(epoch);
      const bool idle = engine != self->state.engines.end() && engine->second.idle();
      if (other.manifest.model == opening.open.model && idle) unused.push_back(epoch);
    }
    for (const std::uint64_t epoch : unused) {
      end_deployment(self, setup, epoch,
                     Status(Code::kCancelled, "the model was placed anew; ask again"));
    }
    const auto planned = plan_with_room(self, setup, opening);
    if (!planned) return refuse_all(planned.status());
    deployment = state.find(*planned);
    auto& waiting = self->state.waiting[*planned];
    waiting.insert(waiting.end(), opening.replies.begin(), opening.replies.end());
    begin_allowing(self, setup, *deployment);
    return;
  }
  const auto engine = self->state.engines.find(deployment->epoch);
  if (engine != self->state.engines.end()) {
    ModelReady ready;
    ready.epoch = deployment->epoch;
    ready.stages = state.stage_names(*deployment);
    for (const Reply& reply : opening.replies) {
      engine->second.opened(monotonic_us());
      reply(ready);
    }
    return;
  }
  auto& waiting = self->state.waiting[deployment->epoch];
  if (waiting.size() + opening.replies.size() > kWaitingMax) {
    return refuse_all(Status(Code::kResourceExhausted,
                             "too many requests wait for this model to load; try again later"));
  }
  waiting.insert(waiting.end(), opening.replies.begin(), opening.replies.end());
}

Status complete_from_store(const Setup& setup, OpenModel* open) {
  if (open->has_manifest) return Status::ok();
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

// Ends a deployment: its requests and those who wait for it get `why`, its nodes let go.
void end_deployment(Self self, const Setup& setup, std::uint64_t epoch, const Status& why) {
  Deployment* deployment = self->state.state->find(epoch);
  if (deployment == nullptr) return;
  deployment->life = DeploymentLife::kFailed;
  answer_waiting(self, epoch, refusal(why));
  const auto engine = self->state.engines.find(epoch);
  if (engine != self->state.engines.end()) {
    self->send(engine->second.engine, fail_atom::value, std::make_shared<const Status>(why));
    self->state.engines.erase(engine);
  }
  setup->link->detach_engine(epoch);
  for (const StagePlan& stage : deployment->stages) {
    const NodeRecord* node = self->state.state->node(stage.node);
    if (node != nullptr && node->alive()) {
      tell(setup, stage.node, MessageType::kUnloadStage, UnloadStage{epoch}, epoch);
    }
  }
  self->state.state->erase(epoch);
}

void release_unused(Self self, const Setup& setup) {
  std::vector<std::uint64_t> unused;
  for (const auto& [epoch, entry] : self->state.engines) {
    const auto left = entry.left_us(setup->keep_alive_us, monotonic_us());
    if (left && *left == 0) unused.push_back(epoch);
  }
  for (const std::uint64_t epoch : unused) {
    const Deployment* deployment = self->state.state->find(epoch);
    if (deployment != nullptr) {
      log(LogLevel::kInfo, "unloading " + deployment->manifest.name + ": nobody has used it for " +
                               std::to_string(*setup->keep_alive_us / 1'000'000) + " s");
    }
    end_deployment(
        self, setup, epoch,
        Status(Code::kCancelled, "the model was unloaded after --keep-alive; ask again"));
  }
}

std::map<std::uint64_t, DeploymentUse> uses_of(Self self, const Setup& setup) {
  std::map<std::uint64_t, DeploymentUse> uses;
  for (const auto& [epoch, entry] : self->state.engines) {
    DeploymentUse& use = uses[epoch];
    use.busy = !entry.idle();
    use.running = entry.counters->running;
    use.queued = entry.counters->queued;
    use.requests = entry.submitted;
    use.tokens = entry.counters->tokens;
    if (const auto left = entry.left_us(setup->keep_alive_us, monotonic_us())) {
      use.left_s = (*left + 999'999) / 1'000'000;
    }
  }
  return uses;
}

// Then the holder of the weights dials them, we dial the first stage, and everyone loads.
void begin_loading(Self self, const Setup& setup, const Deployment& deployment) {
  const net::PublicKey me = setup->link->self();
  const std::size_t count = deployment.stages.size();
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
    for (const net::PublicKey& source : deployment.sources) {
      load.sources.push_back(address_of(self, setup, source));
    }
    tell(setup, deployment.stages[i].node, MessageType::kLoadStage, load, deployment.epoch);
  }
}

void begin_serving(Self self, const Setup& setup, std::uint64_t epoch) {
  Deployment* deployment = self->state.state->find(epoch);
  if (deployment == nullptr || deployment->life != DeploymentLife::kReady) return;
  if (self->state.engines.contains(epoch)) return;
  const net::PublicKey first = deployment->stages.front().node;
  if (first != setup->link->self() && !self->state.open_ways.contains(first)) return;
  auto engine = make_engine_setup(setup, *deployment);
  if (!engine) return end_deployment(self, setup, epoch, engine.status());
  engine->coordinator = self;
  EngineEntry entry;
  entry.counters = engine->counters = std::make_shared<EngineCounters>();
  entry.used_us = monotonic_us();
  const auto waiting = self->state.waiting.find(epoch);
  entry.awaited = waiting != self->state.waiting.end() ? waiting->second.size() : 0;
  const engine_actor actor = spawn_engine(self->system(), std::move(*engine));
  entry.engine = actor;
  self->state.engines[epoch] = std::move(entry);
  setup->link->attach_engine(epoch, actor);
  ModelReady ready;
  ready.epoch = epoch;
  ready.stages = self->state.state->stage_names(*deployment);
  answer_waiting(self, epoch, ready);
}

void open_model(Self self, const Setup& setup, OpenModel open, const net::PublicKey& from,
                Reply reply) {
  const auto refuse = [&](const Status& why) { reply(refusal(why)); };
  std::vector<model::LayerRange> ranges;
  if (open.layer_begins.size() != open.layer_ends.size()) {
    return refuse(Status(Code::kInvalidArgument, "the layer ranges are not pairs"));
  }
  for (std::size_t i = 0; i < open.layer_begins.size(); ++i) {
    ranges.push_back({open.layer_begins[i], open.layer_ends[i]});
  }
  // A deployment that is there needs no file.
  if (Deployment* found = self->state.state->find(open.model, ranges, open.kv)) {
    open.manifest = found->manifest;
    return place(self, setup, {std::move(open), ranges, {}, {std::move(reply)}});
  }
  std::vector<net::PublicKey> sources;
  if (open.has_manifest) {
    if (open.manifest.model != open.model) {
      return refuse(Status(Code::kInvalidArgument, "the manifest is of another model"));
    }
    sources.push_back(from);
  }
  const Status complete = complete_from_store(setup, &open);
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
  self->state.openings[number] = {std::move(open), ranges, sources, {std::move(reply)}};
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
  if (!status) {
    for (const Reply& reply : found.mapped().replies) reply(refusal(status));
    return;
  }
  place(self, setup, std::move(found.mapped()));
}

}  // namespace troupe::actors::coordinator
