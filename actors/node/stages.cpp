#include <troupe/actors/node/shell.h>
#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/store/model_id.h>
#include <troupe/model/transformer/weights.h>
#include <troupe/runtime/clock.h>

namespace troupe::actors::node {
namespace {

// How long a broken connection may take to open again before the head is told. By then the head
// knows whether the process at the other end died.
constexpr std::int64_t kReconnectUs = 300'000;
// A loaded stage that has not reached the next one after this time never will.
constexpr std::int64_t kConnectPatienceUs = 5'000'000;
// The head is told again about a broken connection after this time, until it has placed the layers
// anew.
constexpr std::int64_t kTellAgainUs = 2'000'000;

// Ends the steps of an epoch: new ones are not accepted, and those that wait for the device are not
// computed.
void end_steps(const Setup& setup, std::uint64_t epoch, StageHere& here) {
  setup->link->detach_worker(epoch);
  *here.over = true;
}

void drop_stage(Self self, const Setup& setup, std::uint64_t epoch) {
  const auto found = self->state.stages.find(epoch);
  if (found == self->state.stages.end()) return;
  StageHere& here = found->second;
  end_steps(setup, epoch, here);
  self->state.past.hidden_bytes_out += here.counters->hidden_bytes_out;
  self->state.past.positions_out += here.counters->positions_out;
  self->state.past.steps += here.counters->steps;
  self->state.past.positions += here.counters->positions;
  self->state.stages.erase(found);
}

// Drops the stages of a model that were kept for the next epoch.
void drop_retired(Self self, const Setup& setup, const std::string& model) {
  std::vector<std::uint64_t> retired;
  for (const auto& [epoch, here] : self->state.stages) {
    if (here.retired && here.order.manifest.model == model) retired.push_back(epoch);
  }
  for (const std::uint64_t epoch : retired) drop_stage(self, setup, epoch);
}

void answer_failed(Self self, const Setup& setup, std::uint64_t epoch, const Status& why,
                   StageFailed::Blame blame = StageFailed::kStage) {
  const StageFailed failed{epoch, why, blame};
  const Status sent = setup->link->send(setup->head, MessageType::kStageFailed, failed, epoch);
  if (!sent) log(LogLevel::kWarning, "cannot tell the head of a failed stage: " + sent.message());
  // A working stage that only lost its connection is kept: the head will order it again.
  if (blame == StageFailed::kStage) drop_stage(self, setup, epoch);
}

void tell_loaded(const Setup& setup, std::uint64_t epoch, const StageHere& here) {
  const StageLoaded loaded{epoch, here.stage->weights_bytes(), here.fetched_bytes};
  const Status sent = setup->link->send(setup->head, MessageType::kStageLoaded, loaded, epoch);
  if (!sent) log(LogLevel::kWarning, "cannot tell the head of a loaded stage: " + sent.message());
}

// Once the stage is in memory and connected to the next one, tells the head: steps may come.
void answer_loaded_when_ready(Self self, const Setup& setup, std::uint64_t epoch) {
  const auto found = self->state.stages.find(epoch);
  if (found == self->state.stages.end()) return;
  StageHere& here = found->second;
  if (!here.stage || !here.next_connected || here.answered || here.retired) return;
  here.answered = true;
  WorkerSetup worker;
  worker.epoch = epoch;
  worker.node = self->state.name;
  worker.stage = here.stage;
  worker.head = setup->head;
  worker.next = here.order.next.key;
  worker.device = setup->device;
  worker.link = setup->link;
  worker.counters = here.counters;
  worker.over = here.over;
  if (setup->on_broken) {
    const auto me = caf::actor_cast<caf::strong_actor_ptr>(self);
    worker.on_broken = [setup, me](const Status& why) {
      caf::anon_send(caf::actor_cast<node_actor>(me), stop_atom::value, why.message());
      setup->on_broken(why);
    };
  }
  setup->link->attach_worker(epoch, here.order.previous, make_worker(std::move(worker)));
  send_heartbeat(self, setup);
  tell_loaded(setup, epoch, here);
}

// Logs which weights the stage holds in another format than the file's, because that costs memory
// and accuracy.
void tell_changes(const model::Stage& stage, const std::string& name) {
  const std::string changes = model::changes_text(stage.weights());
  if (!changes.empty()) log(LogLevel::kWarning, name + ": " + changes);
}

// Loads the parts, which have been fetched, on the device's thread.
void load_stage(Self self, const Setup& setup, std::uint64_t epoch) {
  StageHere& here = self->state.stages.at(epoch);
  const auto order = std::make_shared<const LoadStage>(here.order);
  model::StageOptions options;
  options.kv_type = kv_type_of(order->kv);
  options.f16_activations = f16_activations_of(order->kv);
  for (const auto& [other, there] : self->state.stages) {
    if (there.stage && there.order.manifest.model == order->manifest.model) {
      options.siblings.push_back(there.stage);
    }
  }
  const caf::strong_actor_ptr me = caf::actor_cast<caf::strong_actor_ptr>(self);
  self->send(
      setup->device, std::make_shared<const DeviceJob>([setup, order, options, me](Device& device) {
        const auto load = [&]() -> Result<std::unique_ptr<model::Stage>> {
          TROUPE_ASSIGN_OR_RETURN(const auto source, setup->store->source(order->manifest));
          TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
          return setup->load(*source, config, {order->layer_begin, order->layer_end}, device,
                             options);
        };
        auto loaded = load();
        auto result = std::make_shared<StageResult>();
        result->epoch = order->epoch;
        if (loaded) {
          result->stage = std::move(*loaded);
          tell_changes(*result->stage, order->manifest.name);
        } else {
          result->status = loaded.status();
        }
        caf::anon_send(caf::actor_cast<node_actor>(me), StageResultPtr(std::move(result)));
      }));
}

void reach_next(const Setup& setup, const LoadStage& order) {
  setup->link->transport()->dial(order.next.key, endpoint_of(setup, order.next),
                                 net::Channel::kActivations);
}

// Fetches blobs from the sources that may have them.
void fetch_blobs(const Setup& setup, const std::vector<PeerAddress>& sources,
                 std::vector<model::BlobRef> blobs, bool background,
                 std::function<void(Status, std::uint64_t bytes)> done) {
  const auto fetch = std::make_shared<FetchRequest>();
  for (const PeerAddress& source : sources) {
    fetch->sources.push_back(source.key);
    // Clients dial us, and blobs that are here need no connection.
    if (blobs.empty() || source.host.empty() || source.key == setup->link->self()) continue;
    setup->link->transport()->dial(source.key, endpoint_of(setup, source), net::Channel::kBulk);
  }
  fetch->blobs = std::move(blobs);
  fetch->background = background;
  fetch->done = std::move(done);
  caf::anon_send(setup->bulk, FetchPtr(fetch));
}

}  // namespace

net::Endpoint endpoint_of(const Setup& setup, const PeerAddress& peer) {
  return peer.key == setup->head ? setup->head_endpoint : net::Endpoint{peer.host, peer.port};
}

void fetch_header(const Setup& setup, const model::Manifest& manifest,
                  const std::vector<PeerAddress>& sources,
                  std::function<void(Status, std::uint64_t bytes)> done) {
  // A head that was lied to, or lies, must not make this node keep parts under a wrong id.
  model::Manifest proved = manifest;
  const Status proof = model::prove(&proved);
  if (!proof) return done(proof, 0);
  std::vector<model::BlobRef> header;
  if (!setup->store->whole_file(manifest.model) &&
      !setup->store->has_blob(manifest.header.sha256)) {
    header.push_back(manifest.header);
  }
  fetch_blobs(setup, sources, std::move(header), false, std::move(done));
}

namespace {

// Fetches the missing tensors of these layers into the store; `done` is called once, on the bulk
// actor's thread or on this one.
void fetch_layers(const Setup& setup, const model::Manifest& manifest, model::LayerRange layers,
                  const std::vector<PeerAddress>& sources, bool background,
                  std::function<void(Status, std::uint64_t bytes)> done) {
  // The header comes first: it says which tensors the layers need.
  fetch_header(setup, manifest, sources, [=](Status status, std::uint64_t header_bytes) {
    const auto missing = [&]() -> Result<std::vector<model::BlobRef>> {
      TROUPE_RETURN_IF_ERROR(status);
      TROUPE_ASSIGN_OR_RETURN(const auto source, setup->store->source(manifest));
      TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
      return setup->store->missing(manifest, model::tensors_of(source->header(), config, layers));
    }();
    if (!missing) return done(missing.status(), header_bytes);
    fetch_blobs(setup, sources, *missing, background,
                [done, header_bytes](Status fetched, std::uint64_t bytes) {
                  done(std::move(fetched), header_bytes + bytes);
                });
  });
}

}  // namespace

void drop_all_stages(Self self, const Setup& setup) {
  while (!self->state.stages.empty()) drop_stage(self, setup, self->state.stages.begin()->first);
}

void on_load(Self self, const Setup& setup, LoadStage order) {
  const std::uint64_t epoch = order.epoch;
  if (const auto found = self->state.stages.find(epoch); found != self->state.stages.end()) {
    // The head repeats an order that it has no answer to.
    if (found->second.answered && !found->second.retired) tell_loaded(setup, epoch, found->second);
    return;
  }
  StageHere& here = self->state.stages[epoch];
  here.order = std::move(order);
  if (!setup->device) {
    return answer_failed(self, setup, epoch,
                         Status(Code::kFailedPrecondition, "this node holds no layers"));
  }
  if (here.order.arithmetic != setup->arithmetic) {
    return answer_failed(
        self, setup, epoch,
        Status(Code::kFailedPrecondition, "the model is placed by arithmetic version " +
                                              std::to_string(here.order.arithmetic) +
                                              ", this node computes by version " +
                                              std::to_string(setup->arithmetic) +
                                              "; install the head's release of Troupe on it"));
  }
  const net::PublicKey next = here.order.next.key;
  if (next == setup->link->self()) {
    here.next_connected = true;
  } else {
    reach_next(setup, here.order);
    here.next_connected = self->state.connected_peers.contains(next);
  }
  const auto me = caf::actor_cast<caf::strong_actor_ptr>(self);
  fetch_layers(setup, here.order.manifest, {here.order.layer_begin, here.order.layer_end},
               here.order.sources, false, [me, epoch](Status status, std::uint64_t bytes) {
                 auto result = std::make_shared<StageResult>();
                 result->epoch = epoch;
                 result->status = std::move(status);
                 result->fetched_bytes = bytes;
                 result->fetched = true;
                 caf::anon_send(caf::actor_cast<node_actor>(me), StageResultPtr(std::move(result)));
               });
}

void on_prefetch(Self, const Setup& setup, const Prefetch& prefetch) {
  if (!setup->device) return;
  const Prefetched here{prefetch.manifest.model, prefetch.layer_begin, prefetch.layer_end, 0, 0};
  fetch_layers(setup, prefetch.manifest, {prefetch.layer_begin, prefetch.layer_end},
               prefetch.sources, true, [setup, here](Status status, std::uint64_t bytes) {
                 Prefetched answer = here;
                 answer.fetched_bytes = bytes;
                 answer.code = Outcome(status).code;
                 if (!status) {
                   log(LogLevel::kWarning, "no copies of other nodes' layers: " + status.message());
                 }
                 status = setup->link->send(setup->head, MessageType::kPrefetched, answer);
                 if (!status) log(LogLevel::kWarning, "cannot report copies: " + status.message());
               });
}

void on_stage_result(Self self, const Setup& setup, const StageResult& result) {
  const auto found = self->state.stages.find(result.epoch);
  if (found == self->state.stages.end()) return;  // it was unloaded
  if (found->second.retired)
    return drop_stage(self, setup, result.epoch);  // the stage comes too late
  if (!result.status) return answer_failed(self, setup, result.epoch, result.status);
  if (result.fetched) {
    found->second.fetched_bytes = result.fetched_bytes;
    load_stage(self, setup, result.epoch);
    return;
  }
  found->second.stage = result.stage;
  found->second.loaded_us = monotonic_us();
  drop_retired(self, setup, std::string(found->second.order.manifest.model));
  answer_loaded_when_ready(self, setup, result.epoch);
}

void on_unload(Self self, const Setup& setup, const UnloadStage& unload) {
  const auto found = self->state.stages.find(unload.epoch);
  if (found == self->state.stages.end()) return;
  if (unload.keep) {
    found->second.retired = true;
    end_steps(setup, unload.epoch, found->second);
    return;
  }
  const std::string model = found->second.order.manifest.model;
  drop_stage(self, setup, unload.epoch);
  drop_retired(self, setup, model);
}

void on_connection(Self self, const Setup& setup, const net::PublicKey& peer, const Status& why,
                   bool open) {
  open ? (void)self->state.connected_peers.insert(peer)
       : (void)self->state.connected_peers.erase(peer);
  std::vector<std::uint64_t> ready;
  for (auto& [epoch, here] : self->state.stages) {
    if (here.order.next.key != peer || here.retired) continue;
    here.next_connected = open;
    if (open) ready.push_back(epoch);
    if (!open && here.answered && here.lost_us == 0) here.lost_us = monotonic_us();
    if (!open) here.connection_trouble = why;
  }
  for (const std::uint64_t epoch : ready) answer_loaded_when_ready(self, setup, epoch);
}

void check_connections(Self self, const Setup& setup) {
  const std::int64_t now = monotonic_us();
  for (auto& [epoch, here] : self->state.stages) {
    if (here.retired) continue;
    // A refusal ends a dial; the peer may have refused us before it was told to let us in.
    if (!here.next_connected) reach_next(setup, here.order);
    if (here.lost_us != 0 && now - here.lost_us > kReconnectUs) {
      here.lost_us = now + kTellAgainUs - kReconnectUs;
      answer_failed(
          self, setup, epoch,
          here.connection_trouble.with_context("the connection to the next stage was lost"),
          here.next_connected ? StageFailed::kNobody : StageFailed::kNext);
    } else if (here.stage && !here.answered && now - here.loaded_us > kConnectPatienceUs) {
      here.loaded_us = now;
      answer_failed(
          self, setup, epoch,
          here.connection_trouble.with_context("no connection to the next stage within 5 s"),
          StageFailed::kNext);
    }
  }
}

}  // namespace troupe::actors::node
