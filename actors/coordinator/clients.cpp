#include <troupe/actors/coordinator/shell.h>
#include <troupe/actors/engine/request_traces.h>

namespace troupe::actors::coordinator {

void submit(Self self, const Setup& setup, const SubmitPtr& request, const token_sink& sink) {
  const auto engine = self->state.engines.find(request->epoch);
  if (engine == self->state.engines.end()) {
    auto finished = std::make_shared<Finished>();
    finished->request = request->request;
    finished->finish_reason = "error";
    finished->code = static_cast<std::uint8_t>(Code::kUnavailable);
    finished->error =
        "the model is not loaded any more (it was unloaded, or split otherwise); ask again";
    self->send(sink, FinishedPtr(std::move(finished)));
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
        log_request(LogLevel::kDebug, number,
                    "is request " + std::to_string(ours->request) + " of client " + key_id(peer));
        ours->request = number;
        submit(self, setup, ours, client.session);
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
             StatusReply{message->request, status_text(self, setup)});
      }
      break;
    case MessageType::kManage:
      if (const auto message = decode_body<Manage>(link, frame)) {
        const bool own_user = self->state.local_clients.contains(peer);
        tell(setup, peer, MessageType::kManaged, manage(self, setup, *message, own_user));
      }
      break;
    case MessageType::kPlanModel:
      if (const auto message = decode_body<PlanModel>(link, frame)) {
        plan_model(self, setup, *message, peer, [setup, peer](const Managed& answer) {
          tell(setup, peer, MessageType::kManaged, answer);
        });
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

}  // namespace troupe::actors::coordinator
