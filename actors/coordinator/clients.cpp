#include <algorithm>

#include <troupe/actors/coordinator/client_records.h>
#include <troupe/actors/coordinator/clients.h>
#include <troupe/actors/coordinator/deploy.h>
#include <troupe/actors/coordinator/keep_alive.h>
#include <troupe/actors/coordinator/key_admin.h>
#include <troupe/actors/coordinator/opening.h>
#include <troupe/actors/coordinator/peers.h>
#include <troupe/actors/coordinator/placed_models.h>
#include <troupe/actors/coordinator/plan_model.h>
#include <troupe/actors/coordinator/status_json.h>
#include <troupe/actors/engine/fair_shares.h>
#include <troupe/actors/message_handlers.h>
#include <troupe/actors/messages/request_log.h>
#include <troupe/runtime/clock.h>

namespace troupe::actors::coordinator {

void submit(HeadState& head, const SubmitPtr& request, const token_sink& sink,
            const std::string& owner) {
  RunningEngine* engine = head.engine_of(request->deployment);
  if (engine == nullptr) {
    const Status gone(
        Code::kUnavailable,
        "the model is not loaded any more (it was unloaded, or split otherwise); ask again");
    head.self->send(sink, std::make_shared<const Finished>(failed_request(request->request, gone)));
    return;
  }
  engine->asked(monotonic_us());
  head.self->send(engine->actor, submit_atom::value, request,
                  logged_sink(head, *request, sink, owner));
}

// Sends the request to all engines, which ignore requests that are not theirs.
void cancel(HeadState& head, std::uint64_t request) {
  for (const auto& [id, run] : head.runs) {
    if (run.engine) head.self->send(run.engine->actor, cancel_atom::value, request);
  }
}

std::string status_text(const HeadState& head, const std::string& client) {
  const ReplayCounters& engines = *head.replay_counters;
  const RecoveryCounters recovery{head.cluster.deployments.moves(), engines.replays,
                                  engines.replayed_tokens, engines.quarantined};
  return status_json(head.cluster, *head.setup, head.setup->link->counters(), uses_of(head),
                     recovery, client);
}

namespace {

void stop_cluster(HeadState& head, bool everywhere) {
  if (everywhere) {
    for (const NodeRecord* node : head.cluster.members.all()) {
      if (node->alive() && node->key != head.own_key()) {
        send(head, node->key, MessageType::kStopDaemon, StopDaemon{"the cluster was stopped"});
      }
    }
  }
  if (head.setup->on_stop) head.setup->on_stop();
}

// Counts a request to open a model for its owner for as long as the result lives, which is until
// the request is answered.
//   Errors: kResourceExhausted (the owner has too many under way already).
Result<std::shared_ptr<void>> hold_open(HeadState& head, const net::InFrame& frame,
                                        const OpenModel& open) {
  const std::string owner = head.owners->of(frame.peer);
  const Budget budget = budget_of(frame.role);
  std::set<std::string> models{open.model};
  for (const auto& [number, opening] : head.openings) {
    if (head.owners->of(opening.by) == owner) models.insert(opening.open.model);
  }
  if (models.size() > budget.models) {
    return Status(Code::kResourceExhausted,
                  "this client brings " + std::to_string(budget.models) +
                      " other models to the cluster at this moment; wait until they are there");
  }
  const auto one = head.opens.take(owner, 1, budget.opens);
  const auto bytes = head.opens_bytes.take(owner, frame.body.size(), budget.opens_bytes);
  if (one && bytes) {
    return std::static_pointer_cast<void>(
        std::make_shared<std::pair<std::shared_ptr<void>, std::shared_ptr<void>>>(one, bytes));
  }
  return Status(Code::kResourceExhausted,
                "this client is waiting for " + std::to_string(head.opens.count(owner)) +
                    " models already, which is the limit; ask again when one is ready");
}

// Returns the answers of an owner that have not ended, over all of its connections.
std::size_t requests_of(const HeadState& head, const net::PublicKey& connection) {
  const auto identity = net::key_from_z85(head.owners->of(connection));
  std::size_t count = 0;
  for (const net::PublicKey& key : head.owners->connections_of(identity ? *identity : connection)) {
    const auto client = head.clients.find(key);
    if (client != head.clients.end()) count += client->second.names->size();
  }
  return count;
}

void on_open(HeadState& head, const net::InFrame& frame, OpenModel open) {
  const auto held = hold_open(head, frame, open);
  const auto reply = [&head, peer = frame.peer, request = open.request,
                      held = held ? *held : nullptr](ModelReady ready) {
    ready.request = request;
    send(head, peer, MessageType::kModelReady, ready);
  };
  if (!held) return reply(refusal(head, held.status()));
  open_model(head, std::move(open), frame.peer, reply);
}

void on_submit(HeadState& head, const net::InFrame& frame, Submit message) {
  const Client& client = client_of(head, frame.peer);
  auto ours = std::make_shared<Submit>(std::move(message));
  const std::uint64_t number = client.names->add(ours->request);
  log_request(
      LogLevel::kDebug, number,
      "is request " + std::to_string(ours->request) + " of client " + net::key_id(frame.peer));
  ours->request = number;
  ours->owner = head.owners->of(frame.peer);
  const std::size_t most = budget_of(frame.role).requests;
  if (requests_of(head, frame.peer) > most) {
    const Status many(Code::kResourceExhausted, "this client has " + std::to_string(most) +
                                                    " answers under way already; ask again when "
                                                    "one has ended");
    return head.self->send(client.session,
                           std::make_shared<const Finished>(failed_request(number, many)));
  }
  ours->priority = std::clamp(ours->priority, -kPriorityMost, kPriorityMost);
  if (frame.role == net::Role::kClient) {
    // A user has one share of the usual weight, however many askers the user names, and may let
    // others go first. (Each asker still finds only its own blocks.)
    ours->sharer = ours->owner;
    ours->weight = 1;
    ours->priority = std::max(ours->priority, 0);
  }
  submit(head, ours, client.session, ours->owner);
}

void on_cancel(HeadState& head, const net::InFrame& frame, const Cancel& message) {
  cancel(head, client_of(head, frame.peer).names->ours(message.request));
}

void on_status_query(HeadState& head, const net::InFrame& frame, const StatusQuery& query) {
  send(head, frame.peer, MessageType::kStatusReply,
       StatusReply{query.request, status_text(head, head.owners->of(frame.peer))});
}

void on_manage(HeadState& head, const net::InFrame& frame, const Manage& ask) {
  const Managed answer = manage(head, ask, asking_of(frame));
  send(head, frame.peer, MessageType::kManaged, answer);
  const bool stop = static_cast<ManageKind>(ask.kind) == ManageKind::kStop;
  if (stop && answer.outcome.is_ok()) stop_cluster(head, ask.force);
}

void on_plan_model(HeadState& head, const net::InFrame& frame, const PlanModel& asked) {
  plan_model(head, asked, frame.peer, [&head, peer = frame.peer](const Managed& answer) {
    send(head, peer, MessageType::kManaged, answer);
  });
}

}  // namespace

void on_client_frame(HeadState& head, const net::InFrame& frame) {
  static const MessageHandlers<HeadState&> kHandlers = {
      on<OpenModel>(on_open),           on<Submit>(on_submit), on<Cancel>(on_cancel),
      on<StatusQuery>(on_status_query), on<Manage>(on_manage), on<PlanModel>(on_plan_model)};
  client_of(head, frame.peer);  // a client has a session from its first frame on
  kHandlers.handle(*head.setup->link, frame, head);
}

}  // namespace troupe::actors::coordinator
