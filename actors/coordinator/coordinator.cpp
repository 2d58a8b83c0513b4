#include <chrono>

#include <troupe/actors/coordinator/shell.h>

namespace troupe::actors {
namespace coordinator {
namespace {

constexpr std::chrono::microseconds kTick{100'000};
// When there is nothing but leases to look after: nodes are heard as often.
constexpr std::chrono::microseconds kIdleTick{kRestingHeartbeatUs};

bool is_at_rest(const Shell& shell) {
  return shell.state->deployments().empty() && shell.openings.empty() &&
         shell.measurements.empty() && shell.revoking.empty() && !shell.restoring;
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
    for (const std::uint64_t id : state.on_node(event.peer)) {
      begin_serving(self, setup, state.find_id(id)->epoch);
    }
  } else if (self->state.open_ways.erase(event.peer) != 0) {
    self->state.lost_ways[event.peer] = monotonic_us();
  }
}

coordinator_actor::behavior_type coordinator_behavior(Self self, Setup setup) {
  self->state.state = std::make_unique<ClusterState>(setup->first_epoch);
  self->state.state->set_head(setup->link->self());
  begin_restoring(self, setup);
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
      [self, setup](submit_atom, const SubmitPtr& request, const token_sink& sink) {
        submit(self, setup, request, sink);
      },
      [self](cancel_atom, std::uint64_t request) { cancel(self, request); },
      [self, setup](status_atom) { return status_text(self, setup); },
      [self, setup](manage_atom, const ManagePtr& ask) {
        return std::make_shared<const Managed>(manage(self, setup, *ask, true));
      },
      [self, setup](job_atom, const JobAskPtr& ask) {
        return self->delegate(setup->jobs, job_atom::value, ask);
      },
      [self, setup](plan_atom, const PlanPtr& asked) {
        auto promise = self->make_response_promise<ManagedPtr>();
        plan_model(self, setup, *asked, setup->link->self(),
                   [promise](const Managed& answer) mutable {
                     promise.deliver(std::make_shared<const Managed>(answer));
                   });
        return promise;
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
        look_after_restoring(self, setup);
        look_after_lost(self, setup);
        look_after_copies(self, setup);
        look_after_measurements(self, setup);
        release_unused(self, setup);
        release_doubled(self, setup);
        drop_revoked(self, setup, monotonic_us());
        self->delayed_send(self, is_at_rest(self->state) ? kIdleTick : kTick, tick_atom::value);
      },
      [self, setup](loaded_atom, std::uint64_t number, const StatusPtr& status) {
        on_header(self, setup, number, *status);
      },
      [self](idle_atom, std::uint64_t id, std::uint64_t submitted) {
        const auto engine = self->state.engines.find(id);
        if (engine == self->state.engines.end()) return;
        engine->second.idle_after = submitted;
        engine->second.used_us = monotonic_us();
      },
      [self, setup](halt_atom, std::uint64_t id, std::uint64_t epoch, const std::string& why) {
        const Deployment* deployment = self->state.state->find_id(id);
        if (deployment == nullptr || deployment->epoch != epoch) return;  // done already
        recover(self, setup, id, why, why);
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
