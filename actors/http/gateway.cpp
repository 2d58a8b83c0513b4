#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include <troupe/actors/facade/cluster_impl.h>
#include <troupe/actors/facade/head_queries.h>
#include <troupe/actors/facade/open_model.h>
#include <troupe/actors/http/gateway.h>
#include <troupe/runtime/log.h>

namespace troupe::http {

// A request for an answer, on its way to the actor.
struct AnswerStart {
  std::uint64_t id = 0;
  AnswerRequest request;
};
using AnswerStartPtr = std::shared_ptr<const AnswerStart>;

}  // namespace troupe::http

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::http::AnswerStartPtr)

namespace troupe::http {
namespace {

using gateway_actor =
    actors::token_sink::extend<caf::reacts_to<actors::submit_atom, AnswerStartPtr>,
                               caf::reacts_to<actors::cancel_atom, std::uint64_t>,
                               // Says that the connection to the head was made again, or could not
                               // be.
                               caf::reacts_to<actors::service_atom, actors::service_actor>,
                               caf::reacts_to<actors::fail_atom>,
                               // Use every model, so that none is unloaded.
                               caf::reacts_to<actors::open_atom>>;

// The number of times that an answer is asked for again without a new token in between.
constexpr int kTriesMax = 4;
// How long to look for a head that was lost.
constexpr std::chrono::seconds kHeadPatience{30};

// A served model: how to ask for it the first time, and once the cluster knows it.
struct OpenedModel {
  actors::OpenPtr first, again;
};

// What the actor and the gateway's threads share.
struct Shared {
  std::function<void()> wake;
  std::mutex mutex;
  std::vector<AnswerEvent> events;
  std::vector<OpenedModel> models;
  // Called on an actor's thread: the head is lost, find it again.
  std::function<void()> reconnect;
  bool local = true;

  void push(AnswerEvent event) {
    bool first = false;
    {
      const std::lock_guard lock(mutex);
      first = events.empty();
      events.push_back(std::move(event));
    }
    if (first) wake();
  }
  std::vector<OpenedModel> all_models() {
    const std::lock_guard lock(mutex);
    return models;
  }
  OpenedModel model(std::size_t index) {
    const std::lock_guard lock(mutex);
    return models.at(index);
  }
};
using SharedPtr = std::shared_ptr<Shared>;

// What the actor knows about an answer under way.
struct Running {
  std::shared_ptr<const AnswerStart> start;
  std::vector<model::TokenId> ids;  // accepted so far
  bool submitted = false, cancelled = false;
  int tries = 0;
};

struct GatewayShell {
  // A handle must not be the first member, because CAF would set it to `self`.
  std::map<std::uint64_t, Running> running;
  actors::service_actor service;
  bool reconnecting = false;
};
using Self = gateway_actor::stateful_pointer<GatewayShell>;

void end(Self self, const SharedPtr& shared, std::uint64_t id, std::string reason,
         const Status& error, std::uint64_t tokens, const actors::Finished* finished = nullptr) {
  self->state.running.erase(id);
  AnswerEvent event;
  event.answer = id;
  event.ended = true;
  event.finish_reason = std::move(reason);
  event.error = error;
  event.tokens = tokens;
  if (finished != nullptr) {
    event.cached_tokens = finished->cached_tokens;
    event.queue_ms = finished->queue_ms;
    event.prefill_ms = finished->prefill_ms;
    event.retry_after_ms = finished->retry_after_ms;
    event.prompt_logprobs = finished->prompt_logprobs;
  }
  shared->push(std::move(event));
}

std::shared_ptr<const actors::Submit> make_submit(const Running& running,
                                                  std::uint64_t deployment) {
  const AnswerRequest& request = running.start->request;
  auto submit = std::make_shared<actors::Submit>();
  submit->request = running.start->id;
  submit->deployment = deployment;
  submit->prompt_ids = request.prompt_ids;
  // The newest token is left out: if it was the last one, the end of the answer is still to come.
  if (!running.ids.empty()) {
    submit->answer_ids.assign(running.ids.begin(), running.ids.end() - 1);
  }
  submit->max_tokens = request.max_tokens;
  submit->sampling = request.sampling;
  submit->stop = request.stop;
  submit->ignore_end = request.ignore_end;
  submit->asker = request.asker;
  submit->cache_salt = request.cache_salt;
  submit->public_ids = static_cast<std::uint32_t>(request.public_ids);
  submit->prompt_logprobs = running.ids.empty() ? request.prompt_logprobs : 0;
  submit->weight = request.weight;
  submit->priority = request.priority;
  submit->deadline_ms = static_cast<std::uint32_t>(request.deadline_ms);
  return submit;
}

// Asks for the model, which chooses among its replicas, and then for the answer.
void ask(Self self, const SharedPtr& shared, std::uint64_t id, bool knows_model);

void on_ready(Self self, const SharedPtr& shared, std::uint64_t id, bool knows_model,
              const actors::ReadyPtr& ready) {
  const auto found = self->state.running.find(id);
  if (found == self->state.running.end()) return;
  Running& running = found->second;
  if (running.cancelled) {
    return end(self, shared, id, "cancelled", Status::ok(), running.ids.size());
  }
  const Status opened = ready->outcome.status();
  if (!opened && knows_model) return ask(self, shared, id, false);
  if (!opened) return end(self, shared, id, "error", opened, running.ids.size());
  running.submitted = true;
  self->send(self->state.service, actors::submit_atom::value,
             actors::SubmitPtr(make_submit(running, ready->deployment)),
             caf::actor_cast<actors::token_sink>(self));
}

// Called when the head does not answer: everything waits until it is found again.
void on_lost(Self self, const SharedPtr& shared) {
  if (self->state.reconnecting) return;
  self->state.reconnecting = true;
  shared->reconnect();
}

void ask(Self self, const SharedPtr& shared, std::uint64_t id, bool knows_model) {
  Running& running = self->state.running.at(id);
  running.submitted = false;
  if (self->state.reconnecting) return;
  const OpenedModel model = shared->model(running.start->request.model);
  self->request(self->state.service, caf::infinite, actors::open_atom::value,
                knows_model ? model.again : model.first)
      .then([=](const actors::ReadyPtr& ready) { on_ready(self, shared, id, knows_model, ready); },
            [=](caf::error&) {
              const auto found = self->state.running.find(id);
              if (found == self->state.running.end()) return;
              if (!shared->local) return on_lost(self, shared);
              end(self, shared, id, "error",
                  Status(Code::kUnavailable, "the cluster ended while the answer was computed"),
                  found->second.ids.size());
            });
}

void on_token(Self self, const SharedPtr& shared, const actors::Token& token) {
  const auto found = self->state.running.find(token.request);
  if (found == self->state.running.end()) return;
  Running& running = found->second;
  // If an answer was asked for again, tokens that had come before come once more.
  if (running.cancelled || token.index != running.ids.size()) return;
  running.ids.push_back(token.id);
  running.tries = 0;
  AnswerEvent event;
  event.answer = token.request;
  event.index = token.index;
  event.id = token.id;
  event.text = token.text;
  event.logprobs = token.logprobs;
  event.prompt_logprobs = token.prompt_logprobs;
  shared->push(std::move(event));
}

// Says whether the answer can go on, because only the model was unloaded or the head is away.
bool may_go_on(const Running& running, const Status& why) {
  if (running.cancelled || running.tries >= kTriesMax) return false;
  return why.code() == Code::kUnavailable || why.code() == Code::kCancelled;
}

void on_finished(Self self, const SharedPtr& shared, const actors::Finished& finished) {
  const auto found = self->state.running.find(finished.request);
  if (found == self->state.running.end()) return;
  Running& running = found->second;
  const Status why = finished.outcome.status();
  if (finished.finish_reason == "error" && may_go_on(running, why)) {
    ++running.tries;
    log(LogLevel::kInfo,
        "request=" + std::to_string(finished.request) + " is asked for again: " + why.message());
    running.submitted = false;
    if (!shared->local && why.code() == Code::kUnavailable) return on_lost(self, shared);
    return ask(self, shared, finished.request, false);
  }
  const std::size_t tokens = std::max(finished.token_ids.size(), running.ids.size());
  end(self, shared, finished.request, finished.finish_reason, why, tokens, &finished);
}

void on_service(Self self, const SharedPtr& shared, const actors::service_actor& service) {
  const bool same = self->state.service == service;
  self->state.service = service;
  self->state.reconnecting = false;
  std::vector<std::uint64_t> waiting;
  for (const auto& [id, running] : self->state.running) {
    if (!running.submitted || !same) waiting.push_back(id);
  }
  for (const std::uint64_t id : waiting) {
    Running& running = self->state.running.at(id);
    if (running.cancelled) {
      end(self, shared, id, "cancelled", Status::ok(), running.ids.size());
    } else {
      ask(self, shared, id, false);
    }
  }
}

void on_no_head(Self self, const SharedPtr& shared) {
  self->state.reconnecting = false;
  while (!self->state.running.empty()) {
    const auto& [id, running] = *self->state.running.begin();
    end(self, shared, id, "error",
        Status(Code::kUnavailable, "the cluster's head was lost and did not come back"),
        running.ids.size());
  }
}

void on_cancel(Self self, const SharedPtr& shared, std::uint64_t id) {
  const auto found = self->state.running.find(id);
  if (found == self->state.running.end()) return;
  Running& running = found->second;
  running.cancelled = true;
  if (running.submitted) {
    self->send(self->state.service, actors::cancel_atom::value, id);
  } else if (self->state.reconnecting) {
    end(self, shared, id, "cancelled", Status::ok(), running.ids.size());
  }
}

void keep_models(Self self, const SharedPtr& shared) {
  if (self->state.reconnecting) return;
  for (const OpenedModel& model : shared->all_models()) {
    self->request(self->state.service, caf::infinite, actors::open_atom::value, model.first)
        .then([](const actors::ReadyPtr&) {}, [](caf::error&) {});
  }
}

gateway_actor::behavior_type gateway_behavior(Self self, SharedPtr shared,
                                              actors::service_actor service) {
  self->state.service = std::move(service);
  return {
      [=](const actors::TokenPtr& token) { on_token(self, shared, *token); },
      [=](const actors::FinishedPtr& finished) { on_finished(self, shared, *finished); },
      [=](actors::submit_atom, const AnswerStartPtr& start) {
        Running running;
        running.start = start;
        running.ids = start->request.answer_ids;
        self->state.running.emplace(start->id, std::move(running));
        ask(self, shared, start->id, !shared->local);
      },
      [=](actors::cancel_atom, std::uint64_t id) { on_cancel(self, shared, id); },
      [=](actors::service_atom, const actors::service_actor& found) {
        on_service(self, shared, found);
      },
      [=](actors::fail_atom) { on_no_head(self, shared); },
      [=](actors::open_atom) { keep_models(self, shared); },
  };
}

}  // namespace

struct Gateway::Impl {
  Cluster::Impl* cluster = nullptr;
  std::shared_ptr<Shared> shared = std::make_shared<Shared>();
  gateway_actor actor;
  std::thread reconnecting;
  std::mutex thread_mutex;
  std::atomic<bool> ended{false};

  // This blocks, and therefore runs on a thread of its own.
  void find_head() {
    const std::shared_ptr<Cluster> again = actors::connection_of(*cluster);
    Cluster::Impl& now = again ? again->impl() : *cluster;
    if (!actors::is_lost(now)) {
      caf::anon_send(actor, actors::service_atom::value, now.service);
      return;
    }
    const auto began = std::chrono::steady_clock::now();
    while (!ended && std::chrono::steady_clock::now() - began < kHeadPatience) {
      const auto connected = actors::reconnect(*cluster, std::chrono::seconds(1));
      if (!connected) continue;
      log(LogLevel::kInfo, "the head was lost, and is back");
      caf::anon_send(actor, actors::service_atom::value, (*connected)->impl().service);
      return;
    }
    caf::anon_send(actor, actors::fail_atom::value);
  }
};

Gateway::Gateway(Cluster& cluster, std::function<void()> wake) : impl_(std::make_unique<Impl>()) {
  Impl* impl = impl_.get();
  impl->cluster = &cluster.impl();
  impl->shared->wake = std::move(wake);
  impl->shared->local = impl->cluster->local;
  impl->shared->reconnect = [impl] {
    const std::lock_guard lock(impl->thread_mutex);
    if (impl->ended) return;
    if (impl->reconnecting.joinable()) impl->reconnecting.join();
    impl->reconnecting = std::thread([impl] { impl->find_head(); });
  };
  impl->actor = impl->cluster->process->system().spawn(gateway_behavior, impl->shared,
                                                       impl->cluster->service);
}

Gateway::~Gateway() {
  impl_->ended = true;
  {
    caf::scoped_actor self(impl_->cluster->process->system());
    self->send_exit(impl_->actor, caf::exit_reason::user_shutdown);
    self->wait_for(impl_->actor);
  }
  const std::lock_guard lock(impl_->thread_mutex);
  if (impl_->reconnecting.joinable()) impl_->reconnecting.join();
}

Status Gateway::open(const std::string& model) {
  TROUPE_ASSIGN_OR_RETURN(
      actors::OpenModel open,
      actors::describe_model(*impl_->cluster->process->store, model, {},
                             actors::kv_code(std::nullopt), impl_->cluster->bulk));
  OpenedModel opened;
  opened.first = std::make_shared<const actors::OpenModel>(open);
  open.has_manifest = false;
  open.manifest = {};
  opened.again = std::make_shared<const actors::OpenModel>(std::move(open));
  TROUPE_ASSIGN_OR_RETURN(const actors::ReadyPtr ready,
                          actors::open_model(*impl_->cluster, opened.first));
  const std::lock_guard lock(impl_->shared->mutex);
  impl_->shared->models.push_back(std::move(opened));
  return Status::ok();
}

Result<ClusterStatus> Gateway::status() {
  const std::shared_ptr<Cluster> again = actors::connection_of(*impl_->cluster);
  return actors::ask_status(again ? again->impl() : *impl_->cluster);
}

void Gateway::keep_models() { caf::anon_send(impl_->actor, actors::open_atom::value); }

std::uint64_t Gateway::start(AnswerRequest request) {
  auto start = std::make_shared<AnswerStart>();
  start->id = actors::next_request_id();
  start->request = std::move(request);
  const std::uint64_t id = start->id;
  caf::anon_send(impl_->actor, actors::submit_atom::value, AnswerStartPtr(std::move(start)));
  return id;
}

void Gateway::cancel(std::uint64_t answer) {
  caf::anon_send(impl_->actor, actors::cancel_atom::value, answer);
}

std::vector<AnswerEvent> Gateway::take() {
  std::vector<AnswerEvent> events;
  const std::lock_guard lock(impl_->shared->mutex);
  events.swap(impl_->shared->events);
  return events;
}

}  // namespace troupe::http
