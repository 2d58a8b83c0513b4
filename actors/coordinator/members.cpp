#include <ctime>

#include <troupe/actors/coordinator/shell.h>

namespace troupe::actors::coordinator {
namespace {

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
    const Refused refused{static_cast<std::uint8_t>(name.code()), name.message(), false};
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
    const Refused refused{static_cast<std::uint8_t>(allowed.code()), allowed.message(), false};
    sent = setup->link->answer(frame, MessageType::kRefused, refused);
  }
  if (!sent) log(LogLevel::kWarning, "cannot answer a newcomer: " + sent.message());
}

}  // namespace

void on_node_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  Link& link = *setup->link;
  ClusterState& state = *self->state.state;
  switch (static_cast<MessageType>(frame.header.type)) {
    case MessageType::kEnrol:
      if (const auto enrol = decode_body<Enrol>(link, frame)) on_enrol(self, setup, frame, *enrol);
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
        lose_node(self, setup, frame.peer, "it left", false);
      }
      break;
    case MessageType::kPeersAllowed:
      if (const auto allowed = decode_body<PeersAllowed>(link, frame)) {
        if (on_measuring_allowed(self, setup, frame.peer, allowed->epoch)) break;
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
    case MessageType::kPrefetched:
      if (const auto here = decode_body<Prefetched>(link, frame)) {
        const Deployment* deployment = state.find(here->model, {});
        if (here->code != 0) {
          copy_again(self, here->model);
        } else if (deployment != nullptr && here->layer_end <= deployment->layers) {
          state.holds(here->model, frame.peer, {here->layer_begin, here->layer_end},
                      here->fetched_bytes);
        }
      }
      break;
    case MessageType::kMeasured:
      if (const auto measured = decode_body<Measured>(link, frame)) {
        on_measured(self, setup, frame.peer, *measured);
      }
      break;
    case MessageType::kStageFailed:
      if (const auto failed = decode_body<StageFailed>(link, frame)) {
        on_stage_failed(self, setup, frame.peer, *failed);
      }
      break;
    default:
      break;
  }
}

}  // namespace troupe::actors::coordinator
