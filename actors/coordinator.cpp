#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>
#include <set>

#include <troupe/actors/coordinator.h>
#include <troupe/actors/engine.h>
#include <troupe/actors/session.h>
#include <troupe/model/chat_template.h>
#include <troupe/model/tokenizer.h>
#include <troupe/runtime/log.h>

// Longer than 500 lines: every frame that a head answers, one short function each.
namespace troupe::actors {
namespace {

constexpr std::chrono::milliseconds kTick{200};
constexpr std::size_t kWaitingMax = 1024;  // opens that wait for one deployment

// How the one who opened a model is answered: by a promise in this process, or by a frame.
using Reply = std::function<void(const ModelReady&)>;

struct Client {
  token_sink session;
  std::shared_ptr<RequestNames> names = std::make_shared<RequestNames>();
};

struct EngineEntry {
  engine_actor engine;
  std::uint64_t submitted = 0;   // requests sent to it
  std::uint64_t idle_after = 0;  // it said: nothing to do after so many
  bool idle() const { return submitted == idle_after; }
};

// An open that waits for the header of its model.
struct Opening {
  OpenModel open;
  std::vector<model::LayerRange> ranges;
  std::vector<net::PublicKey> sources;
  std::vector<Reply> replies;
};

struct CoordinatorShell {
  std::unique_ptr<ClusterState> state;
  std::map<net::PublicKey, Client> clients;
  std::map<std::uint64_t, std::vector<Reply>> waiting;  // deployments on their way
  std::map<std::uint64_t, EngineEntry> engines;
  std::map<std::uint64_t, Opening> openings;  // by a number of our own
  std::set<net::PublicKey> open_ways;         // first stages that can be reached
  std::uint64_t next_opening = 1;
};
using Self = coordinator_actor::stateful_pointer<CoordinatorShell>;
using Setup = std::shared_ptr<const CoordinatorSetup>;

ModelReady refusal(const Status& why) {
  ModelReady ready;
  ready.code = static_cast<std::uint8_t>(why.code());
  ready.text = why.message();
  return ready;
}

template <class Message>
void tell(const Setup& setup, const net::PublicKey& node, MessageType type, const Message& message,
          std::uint64_t epoch = 0) {
  const Status sent = setup->link->send(node, type, message, epoch);
  if (!sent) log(LogLevel::kWarning, "cannot reach a node: " + sent.message());
}

// ---- deployments -----------------------------------------------------------------------------

void answer_waiting(Self self, std::uint64_t epoch, const ModelReady& ready) {
  const auto found = self->state.waiting.find(epoch);
  if (found == self->state.waiting.end()) return;
  const std::vector<Reply> replies = std::move(found->second);
  self->state.waiting.erase(found);
  for (const Reply& reply : replies) reply(ready);
}

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
    load.last = i + 1 == count;
    load.next = address_of(self, setup, load.last ? me : deployment.stages[i + 1].node);
    load.sources = deployment.sources;
    tell(setup, deployment.stages[i].node, MessageType::kLoadStage, load, deployment.epoch);
  }
}

Result<EngineSetup> make_engine_setup(const Setup& setup, const Deployment& deployment) {
  TROUPE_ASSIGN_OR_RETURN(const auto source, setup->store->source(deployment.manifest));
  const model::GgufHeader& header = source->header();
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(header));
  EngineSetup engine;
  engine.epoch = deployment.epoch;
  engine.first_stage = deployment.stages.front().node;
  TROUPE_ASSIGN_OR_RETURN(engine.tokenizer, model::Tokenizer::from_gguf(header));
  if (const auto text = header.string("tokenizer.chat_template")) {
    auto parsed = model::ChatTemplate::parse(*text);
    if (parsed) {
      engine.chat_template = *parsed;
    } else {
      log(LogLevel::kWarning, "the model's chat template is left out: " + parsed.message());
    }
  }
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

void begin_serving(Self self, const Setup& setup, std::uint64_t epoch) {
  Deployment* deployment = self->state.state->find(epoch);
  if (deployment == nullptr || deployment->life != DeploymentLife::kReady) return;
  if (self->state.engines.contains(epoch)) return;
  const net::PublicKey first = deployment->stages.front().node;
  if (first != setup->link->self() && !self->state.open_ways.contains(first)) return;
  auto engine = make_engine_setup(setup, *deployment);
  if (!engine) return end_deployment(self, setup, epoch, engine.status());
  engine->coordinator = self;
  const engine_actor actor = spawn_engine(self->system(), std::move(*engine));
  self->state.engines[epoch] = {actor};
  setup->link->attach_engine(epoch, actor);
  ModelReady ready;
  ready.epoch = epoch;
  ready.stages = self->state.state->stage_names(*deployment);
  answer_waiting(self, epoch, ready);
}

// ---- opening a model -------------------------------------------------------------------------

// The header is here: find or make the deployment.
void place(Self self, const Setup& setup, Opening opening) {
  ClusterState& state = *self->state.state;
  const auto refuse_all = [&](const Status& why) {
    for (const Reply& reply : opening.replies) reply(refusal(why));
  };
  Deployment* deployment = state.find(opening.open.model, opening.ranges);
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
    const auto planned = [&]() -> Result<std::uint64_t> {
      TROUPE_ASSIGN_OR_RETURN(const auto source, setup->store->source(opening.open.manifest));
      TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
      return state.plan(opening.open.manifest, config.layers, opening.ranges, opening.sources);
    }();
    if (!planned) return refuse_all(planned.status());
    deployment = state.find(*planned);
    auto& waiting = self->state.waiting[*planned];
    waiting.insert(waiting.end(), opening.replies.begin(), opening.replies.end());
    begin_allowing(self, setup, *deployment);
    return;
  }
  if (self->state.engines.contains(deployment->epoch)) {
    ModelReady ready;
    ready.epoch = deployment->epoch;
    ready.stages = state.stage_names(*deployment);
    for (const Reply& reply : opening.replies) reply(ready);
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
  if (Deployment* found = self->state.state->find(open.model, ranges)) {
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
  if (setup->store->whole_file(open.model)) {
    // Whole here: we serve it, too.
    self->send(setup->bulk, std::make_shared<const ExportedFile>(ExportedFile{
                                setup->store->whole_file(open.model)->string(), open.manifest}));
  }
  const bool have_header = setup->store->whole_file(open.model).has_value() ||
                           setup->store->has_blob(open.manifest.header.sha256);
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

// ---- requests --------------------------------------------------------------------------------

void submit(Self self, const SubmitPtr& request, const token_sink& sink) {
  const auto engine = self->state.engines.find(request->epoch);
  if (engine == self->state.engines.end()) {
    auto finished = std::make_shared<Finished>();
    finished->request = request->request;
    finished->finish_reason = "error";
    finished->code = static_cast<std::uint8_t>(Code::kUnavailable);
    finished->error =
        "the model is not loaded any more (a node left, or it was placed anew); ask "
        "again";
    self->send(sink, FinishedPtr(std::move(finished)));
    return;
  }
  ++engine->second.submitted;
  self->send(engine->second.engine, submit_atom::value, request, sink);
}

// Engines ignore requests that are not theirs.
void cancel(Self self, std::uint64_t request) {
  for (const auto& [epoch, entry] : self->state.engines) {
    self->send(entry.engine, cancel_atom::value, request);
  }
}

Client& client_of(Self self, const Setup& setup, const net::PublicKey& key) {
  Client& client = self->state.clients[key];
  if (!client.session) {
    client.session = spawn_session(self->system(), setup->link, key, client.names);
  }
  return client;
}

void forget_client(Self self, const Setup& setup, const net::PublicKey& key) {
  const auto found = self->state.clients.find(key);
  if (found == self->state.clients.end()) return;
  self->send_exit(found->second.session, caf::exit_reason::user_shutdown);
  self->state.clients.erase(found);
  // Clients' keys are made for one connection.
  if (setup->link->transport()) setup->link->transport()->revoke(key);
}

// ---- membership ------------------------------------------------------------------------------

void lose_node(Self self, const Setup& setup, const net::PublicKey& key, const char* how) {
  const NodeRecord* node = self->state.state->node(key);
  const std::string name = node != nullptr ? node->name : "?";
  log(LogLevel::kWarning, "node " + name + " is gone: " + how);
  self->state.open_ways.erase(key);
  if (net::Transport* transport = setup->link->transport()) transport->disconnect(key);
  for (const std::uint64_t epoch : self->state.state->on_node(key)) {
    std::string layers;
    for (const StagePlan& stage : self->state.state->find(epoch)->stages) {
      if (stage.node == key) layers = model::to_string(stage.layers);
    }
    end_deployment(self, setup, epoch,
                   Status(Code::kUnavailable, "node " + name + ", which held layers " + layers +
                                                  ", is gone (" + how +
                                                  "); ask again: the layers will be placed on the "
                                                  "nodes that are left"));
  }
}

void on_hello(Self self, const Setup& setup, const net::InFrame& frame, const Hello& hello) {
  if (hello.role != static_cast<std::uint8_t>(frame.role)) {
    const Refused refused{static_cast<std::uint8_t>(Code::kPermissionDenied),
                          "the key belongs to another role", false};
    return tell(setup, frame.peer, MessageType::kRefused, refused);
  }
  Welcome welcome;
  welcome.cluster_name = setup->admission ? setup->admission->cluster_name() : "";
  welcome.heartbeat_ms = kHeartbeatUs / 1000;
  welcome.lease_ms = kDeadUs / 1000;
  if (frame.role == net::Role::kClient) {
    client_of(self, setup, frame.peer);
    return tell(setup, frame.peer, MessageType::kWelcome, welcome);
  }
  // Whatever it held before, it holds no more.
  const NodeRecord* before = self->state.state->node(frame.peer);
  const bool back = before != nullptr && before->incarnation == frame.header.incarnation;
  if (back) lose_node(self, setup, frame.peer, "it joined again");
  const bool works = frame.peer != setup->link->self() || setup->works;
  const auto name =
      self->state.state->join(frame.peer, hello, works, frame.header.incarnation, monotonic_us());
  if (!name) {
    const Refused refused{static_cast<std::uint8_t>(name.code()), name.message(), false};
    return tell(setup, frame.peer, MessageType::kRefused, refused);
  }
  welcome.name = *name;
  log(LogLevel::kInfo, "node " + *name + " joined");
  tell(setup, frame.peer, MessageType::kWelcome, welcome);
}

void on_enrol(const Setup& setup, const net::InFrame& frame, const Enrol& enrol) {
  if (!setup->admission) return;
  const net::Role role = static_cast<net::Role>(enrol.role);
  const Status allowed = setup->admission->enrol(frame.peer, enrol.key, role, std::time(nullptr));
  Status sent;
  if (allowed) {
    setup->link->transport()->allow(enrol.key, role);
    const Enrolled enrolled{enrol.key, setup->admission->cluster(),
                            setup->admission->cluster_name()};
    sent = setup->link->answer(frame, MessageType::kEnrolled, enrolled);
  } else {
    log(LogLevel::kWarning, "refused to enrol \"" + enrol.name + "\": " + allowed.message());
    const Refused refused{static_cast<std::uint8_t>(allowed.code()), allowed.message(), false};
    sent = setup->link->answer(frame, MessageType::kRefused, refused);
  }
  if (!sent) log(LogLevel::kWarning, "cannot answer a newcomer: " + sent.message());
}

void stop_cluster(Self self, const Setup& setup, bool everywhere) {
  if (everywhere) {
    for (const NodeRecord* node : self->state.state->nodes()) {
      if (node->alive() && node->key != setup->link->self()) {
        tell(setup, node->key, MessageType::kStopDaemon, StopDaemon{"the cluster was stopped"});
      }
    }
  }
  if (setup->on_stop) setup->on_stop();
}

// ---- frames ----------------------------------------------------------------------------------

void on_client_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  Link& link = *setup->link;
  Client& client = client_of(self, setup, frame.peer);
  const net::PublicKey peer = frame.peer;
  switch (static_cast<MessageType>(frame.header.type)) {
    case MessageType::kOpenModel:
      if (auto open = decode_body<OpenModel>(link, frame)) {
        const std::uint64_t request = open->request;
        open_model(self, setup, std::move(*open), peer, [setup, peer, request](ModelReady ready) {
          ready.request = request;
          tell(setup, peer, MessageType::kModelReady, ready);
        });
      }
      break;
    case MessageType::kSubmit:
      if (auto message = decode_body<Submit>(link, frame)) {
        auto ours = std::make_shared<Submit>(std::move(*message));
        const std::uint64_t number = client.names->add(ours->request);
        ours->request = number;
        submit(self, ours, client.session);
      }
      break;
    case MessageType::kCancel:
      if (const auto message = decode_body<Cancel>(link, frame)) {
        cancel(self, client.names->ours(message->request));
      }
      break;
    case MessageType::kStatusQuery:
      if (const auto message = decode_body<StatusQuery>(link, frame)) {
        tell(setup, peer, MessageType::kStatusReply,
             StatusReply{message->request,
                         status_json(*self->state.state, *setup, link.counters())});
      }
      break;
    case MessageType::kStopCluster:
      if (const auto message = decode_body<StopCluster>(link, frame)) {
        stop_cluster(self, setup, message->everywhere);
      }
      break;
    default:
      break;
  }
}

void on_node_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  Link& link = *setup->link;
  ClusterState& state = *self->state.state;
  switch (static_cast<MessageType>(frame.header.type)) {
    case MessageType::kEnrol:
      if (const auto enrol = decode_body<Enrol>(link, frame)) on_enrol(setup, frame, *enrol);
      break;
    case MessageType::kHello:
      if (const auto hello = decode_body<Hello>(link, frame)) on_hello(self, setup, frame, *hello);
      break;
    case MessageType::kHeartbeat:
      if (const auto beat = decode_body<Heartbeat>(link, frame)) {
        if (state.heartbeat(frame.peer, frame.header.incarnation, *beat, monotonic_us())) {
          tell(setup, frame.peer, MessageType::kHeartbeatAck, HeartbeatAck{beat->count});
        } else {
          tell(setup, frame.peer, MessageType::kRefused,
               Refused{static_cast<std::uint8_t>(Code::kFailedPrecondition), "its lease had ended",
                       true});
        }
      }
      break;
    case MessageType::kLeave:
      if (state.leave(frame.peer, NodeLife::kLeft)) {
        lose_node(self, setup, frame.peer, "it left");
      }
      break;
    case MessageType::kPeersAllowed:
      if (const auto allowed = decode_body<PeersAllowed>(link, frame)) {
        if (state.allowed(frame.peer, allowed->epoch)) {
          begin_loading(self, setup, *state.find(allowed->epoch));
        }
      }
      break;
    case MessageType::kStageLoaded:
      if (const auto loaded = decode_body<StageLoaded>(link, frame)) {
        if (state.loaded(frame.peer, loaded->epoch, loaded->weights_bytes)) {
          begin_serving(self, setup, loaded->epoch);
        }
      }
      break;
    case MessageType::kStageFailed:
      if (const auto failed = decode_body<StageFailed>(link, frame)) {
        const NodeRecord* node = state.node(frame.peer);
        end_deployment(self, setup, failed->epoch,
                       Status(static_cast<Code>(failed->code),
                              "node " + (node != nullptr ? node->name : "?") +
                                  " cannot load its layers: " + failed->text));
      }
      break;
    default:
      break;
  }
}

void on_peer(Self self, const Setup& setup, const PeerEvent& event) {
  ClusterState& state = *self->state.state;
  if (event.kind == PeerEvent::Kind::kLeft) {
    if (event.channel != net::Channel::kControl) return;
    if (self->state.clients.contains(event.peer)) forget_client(self, setup, event.peer);
    if (state.leave(event.peer, NodeLife::kDead)) {
      lose_node(self, setup, event.peer, "its connection closed");
    }
    return;
  }
  if (event.channel != net::Channel::kActivations) return;
  // Our way to a first stage.
  if (event.kind == PeerEvent::Kind::kConnected) {
    self->state.open_ways.insert(event.peer);
    for (const std::uint64_t epoch : state.on_node(event.peer)) begin_serving(self, setup, epoch);
  } else {
    self->state.open_ways.erase(event.peer);
  }
}

coordinator_actor::behavior_type coordinator_behavior(Self self, Setup setup) {
  // Epochs of an earlier run of this head are smaller: it cannot have made one every microsecond.
  using namespace std::chrono;
  const auto wall = duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
  self->state.state = std::make_unique<ClusterState>(static_cast<std::uint64_t>(wall));
  self->delayed_send(self, kTick, tick_atom::value);
  self->set_exit_handler([self](caf::exit_msg& message) {
    for (const auto& [epoch, entry] : self->state.engines) {
      self->send_exit(entry.engine, caf::exit_reason::user_shutdown);
    }
    for (const auto& [key, client] : self->state.clients) {
      self->send_exit(client.session, caf::exit_reason::user_shutdown);
    }
    self->quit(message.reason);
  });
  return {
      [self, setup](open_atom, const OpenPtr& open) {
        auto promise = self->make_response_promise<ReadyPtr>();
        open_model(self, setup, *open, setup->link->self(),
                   [promise](const ModelReady& ready) mutable {
                     promise.deliver(std::make_shared<const ModelReady>(ready));
                   });
        return promise;
      },
      [self](submit_atom, const SubmitPtr& request, const token_sink& sink) {
        submit(self, request, sink);
      },
      [self](cancel_atom, std::uint64_t request) { cancel(self, request); },
      [self, setup](status_atom) {
        return status_json(*self->state.state, *setup, setup->link->counters());
      },
      [self, setup](stop_atom, bool everywhere) { stop_cluster(self, setup, everywhere); },
      [self, setup](const FramePtr& frame) {
        if (frame->role == net::Role::kClient &&
            frame->header.type != static_cast<std::uint16_t>(MessageType::kHello)) {
          on_client_frame(self, setup, *frame);
        } else {
          on_node_frame(self, setup, *frame);
        }
      },
      [self, setup](const PeerEventPtr& event) { on_peer(self, setup, *event); },
      [self, setup](tick_atom) {
        for (const net::PublicKey& key : self->state.state->tick(monotonic_us())) {
          lose_node(self, setup, key, "no heartbeat for 2 s");
        }
        self->delayed_send(self, kTick, tick_atom::value);
      },
      [self, setup](loaded_atom, std::uint64_t number, const StatusPtr& status) {
        on_header(self, setup, number, *status);
      },
      [self](idle_atom, std::uint64_t epoch, std::uint64_t submitted) {
        const auto engine = self->state.engines.find(epoch);
        if (engine != self->state.engines.end()) engine->second.idle_after = submitted;
      },
  };
}

}  // namespace

coordinator_actor spawn_coordinator(caf::actor_system& system, CoordinatorSetup setup) {
  return system.spawn(coordinator_behavior,
                      std::make_shared<const CoordinatorSetup>(std::move(setup)));
}

}  // namespace troupe::actors
