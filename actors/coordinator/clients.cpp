#include <troupe/actors/coordinator/shell.h>
#include <troupe/actors/message_handlers.h>
#include <troupe/actors/messages/request_log.h>

namespace troupe::actors::coordinator {

void submit(Self self, const Setup& setup, const SubmitPtr& request, const token_sink& sink) {
  const auto engine = self->state.engines.find(request->deployment);
  if (engine == self->state.engines.end()) {
    const Status gone(
        Code::kUnavailable,
        "the model is not loaded any more (it was unloaded, or split otherwise); ask again");
    self->send(sink, std::make_shared<const Finished>(failed_request(request->request, gone)));
    return;
  }
  engine->second.asked(monotonic_us());
  self->send(engine->second.engine, submit_atom::value, request,
             logged_sink(self, setup, *request, sink));
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
  self->state.local_clients.erase(key);
  self->state.state->forget_source(key);
  // Clients' keys are made for one connection; nodes that it served were told of it.
  if (setup->link->transport()) setup->link->transport()->revoke(key);
  for (const NodeRecord* node : self->state.state->nodes()) {
    if (node->alive() && node->key != setup->link->self()) {
      tell(setup, node->key, MessageType::kForgetPeers, ForgetPeers{{key}});
    }
  }
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

std::string status_text(Self self, const Setup& setup) {
  const ReplayCounters& engines = *self->state.replay_counters;
  const RecoveryCounters recovery{self->state.state->replacements(), engines.replays,
                                  engines.replayed_tokens, engines.quarantined};
  return status_json(*self->state.state, *setup, setup->link->counters(), uses_of(self, setup),
                     recovery);
}

namespace {

void on_open(Self self, const Setup& setup, const net::InFrame& frame, OpenModel open) {
  const auto reply = [setup, peer = frame.peer, request = open.request](ModelReady ready) {
    ready.request = request;
    tell(setup, peer, MessageType::kModelReady, ready);
  };
  open_model(self, setup, std::move(open), frame.peer, reply);
}

void on_submit(Self self, const Setup& setup, const net::InFrame& frame, Submit message) {
  const Client& client = client_of(self, setup, frame.peer);
  auto ours = std::make_shared<Submit>(std::move(message));
  const std::uint64_t number = client.names->add(ours->request);
  log_request(
      LogLevel::kDebug, number,
      "is request " + std::to_string(ours->request) + " of client " + net::key_id(frame.peer));
  ours->request = number;
  submit(self, setup, ours, client.session);
}

void on_cancel(Self self, const Setup& setup, const net::InFrame& frame, const Cancel& message) {
  cancel(self, client_of(self, setup, frame.peer).names->ours(message.request));
}

void on_status_query(Self self, const Setup& setup, const net::InFrame& frame,
                     const StatusQuery& query) {
  tell(setup, frame.peer, MessageType::kStatusReply,
       StatusReply{query.request, status_text(self, setup)});
}

void on_manage(Self self, const Setup& setup, const net::InFrame& frame, const Manage& ask) {
  const bool own_user = self->state.local_clients.contains(frame.peer);
  tell(setup, frame.peer, MessageType::kManaged, manage(self, setup, ask, own_user));
}

void on_plan_model(Self self, const Setup& setup, const net::InFrame& frame,
                   const PlanModel& asked) {
  plan_model(self, setup, asked, frame.peer, [setup, peer = frame.peer](const Managed& answer) {
    tell(setup, peer, MessageType::kManaged, answer);
  });
}

void on_stop_cluster(Self self, const Setup& setup, const StopCluster& stop) {
  stop_cluster(self, setup, stop.everywhere);
}

}  // namespace

void on_client_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  static const MessageHandlers<Self, const Setup&> kHandlers = {
      on<OpenModel>(on_open),           on<Submit>(on_submit), on<Cancel>(on_cancel),
      on<StatusQuery>(on_status_query), on<Manage>(on_manage), on<PlanModel>(on_plan_model),
      on<StopCluster>(on_stop_cluster)};
  client_of(self, setup, frame.peer);  // it has a session from its first frame on
  kHandlers.handle(*setup->link, frame, self, setup);
}

}  // namespace troupe::actors::coordinator
