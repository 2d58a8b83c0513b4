#include <chrono>
#include <utility>

#include <troupe/actors/coordinator/audited.h>
#include <troupe/actors/coordinator/client_records.h>
#include <troupe/actors/coordinator/clients.h>
#include <troupe/actors/coordinator/coordinator.h>
#include <troupe/actors/coordinator/copies.h>
#include <troupe/actors/coordinator/deploy.h>
#include <troupe/actors/coordinator/engines.h>
#include <troupe/actors/coordinator/head_state.h>
#include <troupe/actors/coordinator/keep_alive.h>
#include <troupe/actors/coordinator/key_admin.h>
#include <troupe/actors/coordinator/measuring.h>
#include <troupe/actors/coordinator/members.h>
#include <troupe/actors/coordinator/opening.h>
#include <troupe/actors/coordinator/plan_model.h>
#include <troupe/actors/coordinator/reach.h>
#include <troupe/actors/coordinator/recovery.h>
#include <troupe/actors/coordinator/replicas.h>
#include <troupe/actors/coordinator/restore.h>
#include <troupe/actors/messages/lease.h>
#include <troupe/runtime/clock.h>

namespace troupe::actors {
namespace coordinator {
namespace {

constexpr std::chrono::microseconds kTick{100'000};
// The pause while there is nothing to check but leases. Nodes at rest send heartbeats at the same
// interval.
constexpr std::chrono::microseconds kIdleTick{kRestingHeartbeatUs};

bool is_at_rest(const HeadState& head) {
  return head.cluster.deployments.all().empty() && head.openings.empty() &&
         head.measurements.empty() && head.revoking.empty() && !head.restoring;
}

void on_peer(HeadState& head, const PeerEvent& event) {
  ClusterState& cluster = head.cluster;
  if (event.kind == PeerEvent::Kind::kLeft) {
    if (event.channel != net::Channel::kControl) return;
    forget_hello(head, event.peer);
    if (head.clients.contains(event.peer)) forget_client(head, event.peer);
    if (cluster.members.leave(event.peer, NodeLife::kDead)) {
      lose_node(head, event.peer, "its connection closed");
    }
    return;
  }
  if (event.channel != net::Channel::kActivations) return;
  if (event.kind == PeerEvent::Kind::kConnected) {
    head.connections[event.peer].open = true;
    if (const auto node = on_reached(head, event.peer)) admit_node(head, *node);
    for (const std::uint64_t id : cluster.deployments.on_node(event.peer)) {
      begin_serving(head, cluster.deployments.find_id(id)->epoch);
    }
  } else {
    StageConnection& connection = head.connections[event.peer];
    const bool was_open = std::exchange(connection.open, false);
    if (was_open) connection.lost_us = monotonic_us();
    const auto node = on_not_reached(head, event.peer, event.why, was_open);
    if (node) admit_node(head, *node);
  }
}

void on_tick(HeadState& head) {
  for (const net::PublicKey& key : head.cluster.members.tick(monotonic_us())) {
    lose_node(head, key, "no heartbeat for 2 s");
  }
  check_restoring(head);
  check_orders(head);
  for (const DialledBack& node : check_reach(head)) admit_node(head, node);
  check_lost(head);
  check_copies(head);
  check_measurements(head);
  share_memory(head);
  release_unused(head);
  release_doubled(head);
  drop_revoked(head, monotonic_us());
  forget_absent_clients(head, monotonic_us());
  end_tokens(head);
  head.self->delayed_send(head.self, is_at_rest(head) ? kIdleTick : kTick, tick_atom::value);
}

// Takes an engine's report that it had nothing to do after this number of requests.
void on_idle(HeadState& head, std::uint64_t id, std::uint64_t submitted) {
  RunningEngine* engine = head.engine_of(id);
  if (engine == nullptr) return;
  engine->idle_after = submitted;
  engine->used_us = monotonic_us();
}

// Takes an engine's report that a stage of this epoch missed a step: the deployment is placed
// again.
void on_halt(HeadState& head, std::uint64_t id, std::uint64_t epoch, const std::string& why) {
  const Deployment* deployment = head.cluster.deployments.find_id(id);
  if (deployment == nullptr || deployment->epoch != epoch) return;  // it was placed again already
  recover(head, id, why, why);
}

// Ends the engines and sessions with the head.
void end_actors(HeadState& head) {
  for (const auto& [id, run] : head.runs) {
    if (run.engine) head.self->send_exit(run.engine->actor, caf::exit_reason::user_shutdown);
  }
  for (const auto& [key, client] : head.clients) {
    head.self->send_exit(client.session, caf::exit_reason::user_shutdown);
  }
}

coordinator_actor::behavior_type coordinator_behavior(
    coordinator_actor::stateful_pointer<HeadState> self,
    std::shared_ptr<const CoordinatorSetup> setup) {
  HeadState& head = self->state;
  head.self = self;
  head.setup = std::move(setup);
  head.owners = head.setup->owners ? head.setup->owners : std::make_shared<Owners>();
  head.cluster = ClusterState(head.setup->first_epoch, head.own_key());
  if (!head.setup->events_file.empty()) head.events = EventLog(head.setup->events_file);
  head.events.add(EventKind::kStarted, "the head", "");
  if (!head.setup->audit_file.empty()) {
    head.audit = AuditLog(head.setup->audit_file, head.setup->audit_also_logs);
    audit(head, AuditKind::kStarted, audit_entry(head, {head.own_key(), net::Role::kHead, ""}, ""));
  }
  begin_restoring(head);
  self->delayed_send(self, kTick, tick_atom::value);
  self->set_exit_handler([&head, self](caf::exit_msg& message) {
    end_actors(head);
    self->quit(message.reason);
  });
  return {
      [&head, self](open_atom, const OpenPtr& open) {
        auto promise = self->make_response_promise<ReadyPtr>();
        open_model(head, *open, head.own_key(), [promise](const ModelReady& ready) mutable {
          promise.deliver(std::make_shared<const ModelReady>(ready));
        });
        return promise;
      },
      [&head](submit_atom, const SubmitPtr& request, const token_sink& sink) {
        submit(head, request, sink, request->owner);
      },
      [&head](cancel_atom, std::uint64_t request) { cancel(head, request); },
      [&head](status_atom) { return status_text(head, ""); },
      [&head](manage_atom, const ManagePtr& ask) {
        return std::make_shared<const Managed>(
            manage(head, *ask, {head.own_key(), net::Role::kAdmin, ""}));
      },
      [&head, self](job_atom, const JobAskPtr& ask) {
        return self->delegate(head.setup->jobs, job_atom::value, ask);
      },
      [&head, self](plan_atom, const PlanPtr& asked) {
        auto promise = self->make_response_promise<ManagedPtr>();
        plan_model(head, *asked, head.own_key(), [promise](const Managed& answer) mutable {
          promise.deliver(std::make_shared<const Managed>(answer));
        });
        return promise;
      },
      [&head](const FramePtr& frame) {
        if (net::is_client(frame->role) &&
            frame->header.type != static_cast<std::uint16_t>(MessageType::kHello)) {
          on_client_frame(head, *frame);
        } else {
          on_node_frame(head, *frame);
        }
      },
      [&head](const PeerEventPtr& event) { on_peer(head, *event); },
      [&head](tick_atom) { on_tick(head); },
      [&head](loaded_atom, std::uint64_t number, const StatusPtr& status) {
        on_header(head, number, *status);
      },
      [&head](idle_atom, std::uint64_t id, std::uint64_t submitted) {
        on_idle(head, id, submitted);
      },
      [&head](halt_atom, std::uint64_t id, std::uint64_t epoch, const std::string& why) {
        on_halt(head, id, epoch, why);
      },
  };
}

}  // namespace
}  // namespace coordinator

coordinator_actor spawn_coordinator(caf::actor_system& system, CoordinatorSetup setup) {
  return system.spawn(coordinator::coordinator_behavior,
                      std::make_shared<const CoordinatorSetup>(std::move(setup)));
}

}  // namespace troupe::actors
