#include <ctime>

#include <troupe/actors/coordinator/audited.h>
#include <troupe/actors/coordinator/client_records.h>
#include <troupe/actors/coordinator/copies.h>
#include <troupe/actors/coordinator/deploy.h>
#include <troupe/actors/coordinator/key_admin.h>
#include <troupe/actors/coordinator/measuring.h>
#include <troupe/actors/coordinator/members.h>
#include <troupe/actors/coordinator/peers.h>
#include <troupe/actors/coordinator/reach.h>
#include <troupe/actors/coordinator/recovery.h>
#include <troupe/actors/message_handlers.h>
#include <troupe/actors/messages/enrolment.h>
#include <troupe/actors/messages/lease.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::actors::coordinator {
namespace {

Welcome welcome_of(const HeadState& head, const Hello& hello) {
  Welcome welcome;
  welcome.cluster_name = head.setup->admission ? head.setup->admission->cluster_name() : "";
  welcome.heartbeat_ms = kHeartbeatUs / 1000;
  welcome.lease_ms = kDeadUs / 1000;
  welcome.greeting = hello.greeting;
  return welcome;
}

void refuse_node(HeadState& head, const net::PublicKey& node, const Hello& hello,
                 const Status& why) {
  log(LogLevel::kWarning, "refused the node " + in_quotes(hello.name) + ": " + why.message());
  audit(head, AuditKind::kRefused,
        audit_entry(head, {node, net::Role::kNode, net::to_string({hello.host, hello.port})},
                    hello.name, why.message()));
  send(head, node, MessageType::kRefused, Refused{why, false});
}

// A client that enrolled a connection's key has this long to open the connection and say Hello.
constexpr std::int64_t kHelloUs = 10'000'000;
// The number of connections that one identity may have at once. It is large because the head's own
// user starts many commands side by side.
constexpr std::size_t kClientConnectionsMax = 64, kLocalConnectionsMax = 1024;

Status check_connections(const HeadState& head, const net::PublicKey& identity, bool local) {
  const std::size_t most = local ? kLocalConnectionsMax : kClientConnectionsMax;
  if (head.owners->connections_of(identity).size() < most) return Status::ok();
  return Status(Code::kResourceExhausted,
                "this client has " + std::to_string(most) +
                    " connections already; close some of them and ask again");
}

void on_hello(HeadState& head, const net::InFrame& frame, const Hello& hello) {
  const bool client = net::is_client(frame.role);
  const net::Role said = client ? net::Role::kClient : frame.role;
  if (hello.role != static_cast<std::uint8_t>(said)) {
    const Refused refused{Status(Code::kPermissionDenied, "the key belongs to another role"),
                          false};
    return send(head, frame.peer, MessageType::kRefused, refused);
  }
  if (client) {
    Client& here = client_of(head, frame.peer);
    here.hello_until_us.reset();
    here.role = frame.role;
    here.address = frame.address;
    return send(head, frame.peer, MessageType::kWelcome, welcome_of(head, hello));
  }
  if (head.setup->admission && head.setup->admission->is_revoked(frame.peer)) {
    return send_revoked(head, frame.peer);
  }
  if (head.cluster.members.has_greeted(frame.peer, frame.header.incarnation, hello.greeting)) {
    // The node says this Hello again because it has no Welcome yet. What it was ordered to do since
    // then stays valid.
    Welcome welcome = welcome_of(head, hello);
    welcome.name = head.cluster.members.name_of(frame.peer);
    return send(head, frame.peer, MessageType::kWelcome, welcome);
  }
  const Status may_join =
      head.cluster.members.may_join(frame.peer, hello, frame.header.incarnation);
  if (!may_join) return refuse_node(head, frame.peer, hello, may_join);
  const auto unreachable = dial_back(head, frame.peer, frame.header.incarnation, hello);
  if (unreachable) {
    admit_node(head, {frame.peer, frame.header.incarnation, hello, *unreachable});
  }
}

void on_enrol(HeadState& head, const net::InFrame& frame, const Enrol& enrol) {
  if (!head.setup->admission) return;
  const net::Role role = static_cast<net::Role>(enrol.role);
  const EnrolmentPlace place{head.setup->admission->cluster(), frame.peer,
                             frame.header.incarnation};
  const bool local = frame.peer == head.setup->admission->local_token().key;
  const std::size_t members = head.setup->admission->members().size();
  const Result<net::Role> allowed = [&]() -> Result<net::Role> {
    if (!local && !head.enrolments.admit(frame.peer, kEnrolments, monotonic_us())) {
      return Status(Code::kResourceExhausted,
                    "too many processes are enrolling with this token at the same time; try again "
                    "in a minute");
    }
    TROUPE_RETURN_IF_ERROR(check_enrol(place, head.setup->link->identity(), enrol));
    if (role == net::Role::kClient) {
      TROUPE_RETURN_IF_ERROR(check_connections(head, enrol.identity, local));
    }
    return head.setup->admission->enrol(frame.peer, enrol.key, enrol.identity, role,
                                        std::time(nullptr), enrol.name);
  }();
  Status sent;
  if (allowed) {
    net::Transport* transport = head.setup->link->transport();
    transport->allow(enrol.key, *allowed);
    audit_enrolled(head, frame, role == net::Role::kClient ? enrol.identity : enrol.key, *allowed,
                   enrol.name, head.setup->admission->members().size() > members);
    if (net::is_client(*allowed)) {
      head.owners->set(enrol.key, enrol.identity);
      // From now on, the identity can enrol further connections itself.
      if (!local) transport->allow(enrol.identity, net::Role::kEnrol);
      const bool again = head.clients.contains(enrol.key);  // the answer was lost or late
      Client& client = client_of(head, enrol.key);
      client.local = local;
      if (!again) client.hello_until_us = monotonic_us() + kHelloUs;
    }
    const Enrolled enrolled{enrol.key, head.setup->admission->cluster(),
                            head.setup->admission->cluster_name()};
    sent = head.setup->link->answer(frame, MessageType::kEnrolled, enrolled);
  } else {
    log(LogLevel::kWarning, "refused to enrol \"" + enrol.name + "\": " + allowed.message());
    AuditEntry refused_one;
    refused_one.key = net::key_id(role == net::Role::kClient ? enrol.identity : enrol.key);
    refused_one.role = net::role_name(role);
    refused_one.token = net::key_id(frame.peer);
    refused_one.address = frame.address;
    refused_one.subject = enrol.name;
    refused_one.text = allowed.message();
    audit(head, AuditKind::kRefused, refused_one);
    const Refused refused{allowed.status(), false};
    sent = head.setup->link->answer(frame, MessageType::kRefused, refused);
  }
  if (!sent) log(LogLevel::kWarning, "cannot answer a newcomer: " + sent.message());
}

void on_heartbeat(HeadState& head, const net::InFrame& frame, const Heartbeat& beat) {
  if (head.cluster.members.heartbeat(frame.peer, frame.header.incarnation, beat, monotonic_us())) {
    send(head, frame.peer, MessageType::kHeartbeatAck, HeartbeatAck{beat.count});
    head.cluster.members.set_clock_ahead(frame.peer, beat.unix_ms - unix_now_ms());
    // The node holds stages that nobody needs any more: it is told to drop them.
    for (const std::uint64_t epoch : beat.epochs) {
      if (head.cluster.deployments.wants(frame.peer, epoch)) continue;
      send(head, frame.peer, MessageType::kUnloadStage, UnloadStage{epoch}, epoch);
    }
  } else {
    const Status over(Code::kFailedPrecondition, "its lease had ended");
    send(head, frame.peer, MessageType::kRefused, Refused{over, true});
  }
}

void on_leave(HeadState& head, const net::InFrame& frame, const Leave&) {
  if (head.cluster.members.leave(frame.peer, NodeLife::kLeft)) {
    lose_node(head, frame.peer, "it left", false);
  }
}

void on_peers_allowed(HeadState& head, const net::InFrame& frame, const PeersAllowed& allowed) {
  if (on_measuring_allowed(head, frame.peer, allowed.epoch)) return;
  ClusterState& cluster = head.cluster;
  if (cluster.deployments.allowed(frame.peer, allowed.epoch)) {
    begin_loading(head, *cluster.deployments.find_epoch(allowed.epoch));
  }
}

void on_stage_loaded(HeadState& head, const net::InFrame& frame, const StageLoaded& loaded) {
  if (head.cluster.loaded(frame.peer, loaded.epoch, loaded.weights_bytes)) {
    begin_serving(head, loaded.epoch);
  }
}

void on_prefetched(HeadState& head, const net::InFrame& frame, const Prefetched& here) {
  ClusterState& cluster = head.cluster;
  const Deployment* deployment = cluster.deployments.find(here.model, {});
  if (here.code != 0) {
    copy_again(head, here.model);
  } else if (deployment != nullptr && here.layer_end <= deployment->layers) {
    cluster.copied(here.model, frame.peer, {here.layer_begin, here.layer_end}, here.fetched_bytes);
  }
}

void on_measured_frame(HeadState& head, const net::InFrame& frame, const Measured& measured) {
  on_measured(head, frame.peer, measured);
}

void on_stage_failed_frame(HeadState& head, const net::InFrame& frame, const StageFailed& failed) {
  on_stage_failed(head, frame.peer, failed);
}

}  // namespace

void admit_node(HeadState& head, const DialledBack& node) {
  const auto& [key, incarnation, hello, unreachable] = node;
  if (head.setup->admission && head.setup->admission->is_revoked(key)) {
    return send_revoked(head, key);
  }
  ClusterState& cluster = head.cluster;
  const NodeRecord* before = cluster.members.find(key);
  const bool back = before != nullptr && before->alive() && before->incarnation == incarnation;
  const bool was_draining = before != nullptr && before->draining;
  const bool moved =
      before != nullptr && (before->host != hello.host || before->port != hello.port);
  const bool works = key != head.own_key() || head.setup->works;
  const auto name = cluster.join(key, hello, works, incarnation, monotonic_us());
  if (!name) return refuse_node(head, key, hello, name.status());
  cluster.members.set_unreachable(key, unreachable);
  if (head.setup->admission) {
    Admission& admission = *head.setup->admission;
    const Status saved = admission.rename(key, *name);
    if (!saved) log(LogLevel::kWarning, "cannot record a node's name: " + saved.message());
    // A node that an earlier run of this head drained stays drained.
    if (admission.is_drained(key, incarnation)) cluster.members.set_draining(key, true);
  }
  log(LogLevel::kInfo, "node " + *name + " joined");
  head.events.add(EventKind::kJoined, *name, net::to_string({hello.host, hello.port}));
  audit(
      head, AuditKind::kJoined,
      audit_entry(head, {key, net::Role::kNode, net::to_string({hello.host, hello.port})}, *name));
  if (was_draining && !cluster.members.find(key)->draining)
    head.events.add(EventKind::kUndrained, *name, "it was started anew");
  if (!unreachable.empty()) say_unreachable(head, key, unreachable);
  Welcome welcome = welcome_of(head, hello);
  welcome.name = *name;
  send(head, key, MessageType::kWelcome, welcome);
  if (moved) {
    // Nodes that dialled the node at its old address must dial it at the new one.
    for (const NodeRecord* other : cluster.members.all()) {
      if (!other->alive() || other->key == key || other->key == head.own_key()) continue;
      send(head, other->key, MessageType::kForgetPeers, ForgetPeers{{key}});
    }
  }
  // The node no longer holds what it held before.
  if (back) lose_node(head, key, "it joined again", false);
  check_lost(head);
}

void on_node_frame(HeadState& head, const net::InFrame& frame) {
  static const MessageHandlers<HeadState&> kHandlers = {on<Enrol>(on_enrol),
                                                        on<Hello>(on_hello),
                                                        on<Heartbeat>(on_heartbeat),
                                                        on<Leave>(on_leave),
                                                        on<PeersAllowed>(on_peers_allowed),
                                                        on<StageLoaded>(on_stage_loaded),
                                                        on<StageFailed>(on_stage_failed_frame),
                                                        on<Prefetched>(on_prefetched),
                                                        on<Measured>(on_measured_frame)};
  kHandlers.handle(*head.setup->link, frame, head);
}

}  // namespace troupe::actors::coordinator
