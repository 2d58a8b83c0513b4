#include <ctime>

#include <troupe/actors/coordinator/shell.h>
#include <troupe/actors/message_handlers.h>

namespace troupe::actors::coordinator {
namespace {

void on_hello(Self self, const Setup& setup, const net::InFrame& frame, const Hello& hello) {
  if (hello.role != static_cast<std::uint8_t>(frame.role)) {
    const Refused refused{Status(Code::kPermissionDenied, "the key belongs to another role"),
                          false};
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
  if (setup->admission && setup->admission->is_revoked(frame.peer)) {
    return tell_revoked(setup, frame.peer);
  }
  ClusterState& state = *self->state.state;
  const NodeRecord* before = state.node(frame.peer);
  const bool back =
      before != nullptr && before->alive() && before->incarnation == frame.header.incarnation;
  const bool moved =
      before != nullptr && (before->host != hello.host || before->port != hello.port);
  const bool works = frame.peer != setup->link->self() || setup->works;
  const auto name = state.join(frame.peer, hello, works, frame.header.incarnation, monotonic_us());
  if (!name) {
    const Refused refused{name.status(), false};
    return tell(setup, frame.peer, MessageType::kRefused, refused);
  }
  welcome.name = *name;
  if (setup->admission) {
    const Status saved = setup->admission->rename(frame.peer, *name);
    if (!saved) log(LogLevel::kWarning, "cannot write down a node's name: " + saved.message());
  }
  log(LogLevel::kInfo, "node " + *name + " joined");
  tell(setup, frame.peer, MessageType::kWelcome, welcome);
  if (moved) {
    setup->link->disconnect(frame.peer);
    // Whoever dialled it where it was is to dial it where it is.
    for (const NodeRecord* node : state.nodes()) {
      if (!node->alive() || node->key == frame.peer || node->key == setup->link->self()) continue;
      tell(setup, node->key, MessageType::kForgetPeers, ForgetPeers{{frame.peer}});
    }
  }
  // Whatever it held before, it holds no more.
  if (back) lose_node(self, setup, frame.peer, "it joined again", false);
  look_after_lost(self, setup);
}

void on_enrol(Self self, const Setup& setup, const net::InFrame& frame, const Enrol& enrol) {
  if (!setup->admission) return;
  const net::Role role = static_cast<net::Role>(enrol.role);
  const Status allowed = setup->admission->enrol(frame.peer, enrol.key, role, std::time(nullptr));
  Status sent;
  if (allowed) {
    setup->link->transport()->allow(enrol.key, role);
    if (frame.peer == setup->admission->local_token().key) {
      self->state.local_clients.insert(enrol.key);
    }
    const Enrolled enrolled{enrol.key, setup->admission->cluster(),
                            setup->admission->cluster_name()};
    sent = setup->link->answer(frame, MessageType::kEnrolled, enrolled);
  } else {
    log(LogLevel::kWarning, "refused to enrol \"" + enrol.name + "\": " + allowed.message());
    const Refused refused{allowed, false};
    sent = setup->link->answer(frame, MessageType::kRefused, refused);
  }
  if (!sent) log(LogLevel::kWarning, "cannot answer a newcomer: " + sent.message());
}

void on_heartbeat(Self self, const Setup& setup, const net::InFrame& frame, const Heartbeat& beat) {
  if (self->state.state->heartbeat(frame.peer, frame.header.incarnation, beat, monotonic_us())) {
    tell(setup, frame.peer, MessageType::kHeartbeatAck, HeartbeatAck{beat.count});
  } else {
    const Status over(Code::kFailedPrecondition, "its lease had ended");
    tell(setup, frame.peer, MessageType::kRefused, Refused{over, true});
  }
}

void on_leave(Self self, const Setup& setup, const net::InFrame& frame, const Leave&) {
  if (self->state.state->leave(frame.peer, NodeLife::kLeft)) {
    lose_node(self, setup, frame.peer, "it left", false);
  }
}

void on_peers_allowed(Self self, const Setup& setup, const net::InFrame& frame,
                      const PeersAllowed& allowed) {
  if (on_measuring_allowed(self, setup, frame.peer, allowed.epoch)) return;
  ClusterState& state = *self->state.state;
  if (state.allowed(frame.peer, allowed.epoch)) {
    begin_loading(self, setup, *state.find(allowed.epoch));
  }
}

void on_stage_loaded(Self self, const Setup& setup, const net::InFrame& frame,
                     const StageLoaded& loaded) {
  if (self->state.state->loaded(frame.peer, loaded.epoch, loaded.weights_bytes)) {
    begin_serving(self, setup, loaded.epoch);
  }
}

void on_prefetched(Self self, const Setup&, const net::InFrame& frame, const Prefetched& here) {
  ClusterState& state = *self->state.state;
  const Deployment* deployment = state.find(here.model, {});
  if (here.code != 0) {
    copy_again(self, here.model);
  } else if (deployment != nullptr && here.layer_end <= deployment->layers) {
    state.holds(here.model, frame.peer, {here.layer_begin, here.layer_end}, here.fetched_bytes);
  }
}

void on_measured_frame(Self self, const Setup& setup, const net::InFrame& frame,
                       const Measured& measured) {
  on_measured(self, setup, frame.peer, measured);
}

void on_stage_failed_frame(Self self, const Setup& setup, const net::InFrame& frame,
                           const StageFailed& failed) {
  on_stage_failed(self, setup, frame.peer, failed);
}

}  // namespace

void on_node_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  static const MessageHandlers<Self, const Setup&> kHandlers = {
      on<Enrol>(on_enrol),
      on<Hello>(on_hello),
      on<Heartbeat>(on_heartbeat),
      on<Leave>(on_leave),
      on<PeersAllowed>(on_peers_allowed),
      on<StageLoaded>(on_stage_loaded),
      on<StageFailed>(on_stage_failed_frame),
      on<Prefetched>(on_prefetched),
      on<Measured>(on_measured_frame)};
  kHandlers.handle(*setup->link, frame, self, setup);
}

}  // namespace troupe::actors::coordinator
