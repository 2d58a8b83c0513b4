#include <utility>

#include <troupe/actors/bulk/fetch_rights.h>
#include <troupe/actors/message_handlers.h>
#include <troupe/actors/messages/enrolment.h>
#include <troupe/actors/node/membership.h>
#include <troupe/actors/node/node.h>
#include <troupe/actors/node/shell.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/machine/process_memory.h>
#include <troupe/runtime/version.h>

namespace troupe::actors {
namespace node {
namespace {

// A newcomer that waits for an answer asks again after this time: the answer may have gone to
// another newcomer with the same token, or the head may not have listened yet.
constexpr std::int64_t kAskAgainUs = 500'000;
constexpr std::int64_t kLogWaitingUs = 2'000'000;
constexpr std::int64_t kJoinPatienceUs = 15'000'000;
// How long a newcomer waits for a head that accepts the connection but is too busy to answer.
constexpr std::int64_t kBusyPatienceUs = 30'000'000;
// The limit on attempts that fail at once; with the pauses between them they take three seconds.
constexpr int kQuickFailuresMax = 6;

bool is_head(const Setup& setup) { return setup->head == setup->link->self(); }

void stop(Self self, const Setup& setup, const Status& why) {
  if (self->state.phase == Phase::kStopped) return;
  self->state.phase = Phase::kStopped;
  if (!self->state.ever_joined) {
    setup->on_joined(why.is_ok() ? Status(Code::kCancelled, "the head stopped") : why);
  }
  setup->on_stop(why);
}

// ---- joining ---------------------------------------------------------------------------------

void connect(Self self, const Setup& setup) {
  NodeShell& state = self->state;
  if (is_head(setup)) return;  // the head's own node greets itself
  net::Transport* transport = setup->link->transport();
  if (transport == nullptr) return;  // the process ends before it has begun
  if (setup->token && (!setup->member || state.enrolled)) {
    state.enrolled = true;
    state.phase = Phase::kEnrolling;
    transport->dial(setup->head, setup->head_endpoint, net::Channel::kControl,
                    net::enrolment_key_pair(*setup->token));
  } else {
    state.phase = Phase::kConnecting;
    transport->dial(setup->head, setup->head_endpoint, net::Channel::kControl);
  }
}

void send_enrol(Self self, const Setup& setup) {
  self->state.enrol_sent_us = monotonic_us();
  const EnrolmentPlace place{setup->token->cluster,
                             net::enrolment_key_pair(*setup->token).public_key,
                             setup->link->incarnation()};
  const net::KeyPair& own = setup->link->identity();
  const Enrol enrol = make_enrol(place, setup->head, own, own, net::Role::kNode, setup->name);
  const Status sent = setup->link->send(setup->head, MessageType::kEnrol, enrol);
  if (!sent) self->state.last_trouble = sent;
}

void send_hello(Self self, const Setup& setup) {
  self->state.hello_sent_us = monotonic_us();
  Hello hello;
  hello.greeting = self->state.greeting;
  hello.role = static_cast<std::uint8_t>(is_head(setup) ? net::Role::kHead : net::Role::kNode);
  hello.name = setup->name;
  hello.host = setup->advertise.host;
  hello.port = setup->advertise.port;
  hello.threads = static_cast<std::uint32_t>(setup->threads);
  hello.memory_bytes = setup->memory_bytes;
  hello.memory_pool = setup->memory_pool;
  hello.arithmetic = setup->arithmetic;
  hello.isa = setup->device ? setup->isa : "";
  hello.program = program_version();
  const Status sent = setup->link->send(setup->head, MessageType::kHello, hello);
  if (!sent) self->state.last_trouble = sent;
}

// Makes a node that has lost its head listen to no other peer, because some peers may have been
// revoked in the meantime. The head names the allowed peers anew with each deployment.
void forget_peers(Self self, const Setup& setup) {
  net::Transport* transport = setup->link->transport();
  for (const net::PublicKey& key : std::exchange(self->state.allowed_peers, {})) {
    if (transport != nullptr) transport->revoke(key);
  }
  if (!is_head(setup)) self->send(setup->bulk, halt_atom::value);
}

// Begins to join. Nothing that the node held before counts any more.
void greet(Self self, const Setup& setup) {
  drop_all_stages(self, setup);
  forget_peers(self, setup);
  self->state.phase = Phase::kGreeting;
  ++self->state.greeting;
  send_hello(self, setup);
}

void on_enrolled(Self self, const Setup& setup, const Enrolled& enrolled) {
  if (self->state.phase != Phase::kEnrolling || enrolled.key != setup->link->self()) return;
  setup->link->set_cluster(enrolled.cluster);
  const Membership member{enrolled.cluster, enrolled.cluster_name, setup->head,
                          setup->head_endpoint.host, setup->head_endpoint.port};
  const Status saved = save_membership(setup->home, member);
  if (!saved) return stop(self, setup, saved);
  // The token's key could only enrol; from now on we use our own.
  self->state.phase = Phase::kConnecting;
  net::Transport* transport = setup->link->transport();
  transport->disconnect(setup->head);
  transport->dial(setup->head, setup->head_endpoint, net::Channel::kControl);
}

// ---- the lease -------------------------------------------------------------------------------

NodeStats stats(const NodeShell& state, const Setup& setup) {
  NodeStats sum = state.past;
  std::vector<const model::Stage*> loaded;
  for (const auto& [epoch, here] : state.stages) {
    // The weights of a retired stage are counted in the stage that takes them over.
    if (here.stage && !here.retired) loaded.push_back(here.stage.get());
    if (!here.retired) sum.kv_bytes += here.counters->kv_bytes;
    sum.hidden_bytes_out += here.counters->hidden_bytes_out;
    sum.positions_out += here.counters->positions_out;
    sum.steps += here.counters->steps;
    sum.positions += here.counters->positions;
  }
  // Heartbeats are frequent, and usually there is one stage, which shares nothing.
  sum.weights_bytes +=
      loaded.size() == 1 ? loaded[0]->weights_bytes() : model::weights_bytes(loaded);
  sum.bulk_bytes_in = *setup->bulk_bytes_in;
  sum.resident_bytes_max = resident_bytes_max();
  const LinkCounters counters = setup->link->counters();
  sum.stale_frames = counters.stale_frames;
  const net::Counters& t = counters.transport;
  sum.frames_in = t.frames_in;
  sum.frames_out = t.frames_out;
  sum.bytes_in = t.bytes_in;
  sum.bytes_out = t.bytes_out;
  sum.damaged_frames = t.rejected_header + t.rejected_checksum;
  sum.refused_peers = t.refused_keys;
  sum.refused_frames = counters.wrong_role_frames + counters.unknown_frames +
                       counters.undecodable_frames + counters.transport.rejected_header +
                       counters.transport.rejected_checksum + counters.transport.rejected_sequence +
                       counters.transport.rejected_cluster;
  return sum;
}

}  // namespace

void send_heartbeat(Self self, const Setup& setup) {
  NodeShell& state = self->state;
  if (state.phase != Phase::kMember) return;
  Heartbeat beat{++state.beats, stats(state, setup), {}, unix_now_ms(), {}};
  if (setup->troubles) beat.troubles = setup->troubles->all();
  for (const auto& [epoch, here] : state.stages) beat.epochs.push_back(epoch);
  const Status sent = setup->link->send(setup->head, MessageType::kHeartbeat, beat);
  if (!sent) state.last_trouble = sent;
}

namespace {

// ---- frames and events -----------------------------------------------------------------------

void on_allow(Self self, const Setup& setup, const AllowPeers& allow) {
  if (net::Transport* transport = setup->link->transport()) {
    for (const PeerAddress& peer : allow.peers) {
      const net::Role role = static_cast<net::Role>(peer.role);
      // Our head is the process that we joined. A message that calls another key a head does not
      // make it one.
      if (peer.key != setup->link->self() &&
          (role == net::Role::kNode || role == net::Role::kClient)) {
        transport->allow(peer.key, role);
        // The head's own process listens to every key that the head enrolled, whatever its node is
        // told.
        if (!is_head(setup)) self->state.allowed_peers.insert(peer.key);
      }
    }
  }
  // (The head itself has let them fetch already.)
  if (!allow.manifest.model.empty() && !is_head(setup)) {
    self->send(setup->bulk,
               std::make_shared<const FetchGrant>(grant_of(allow.manifest, allow.fetchers)));
  }
  const Status sent =
      setup->link->send(setup->head, MessageType::kPeersAllowed, PeersAllowed{allow.epoch});
  if (!sent) log(LogLevel::kWarning, "cannot acknowledge peers: " + sent.message());
}

void on_forget(Self self, const Setup& setup, const ForgetPeers& forget) {
  net::Transport* transport = setup->link->transport();
  for (const net::PublicKey& key : forget.keys) {
    if (transport == nullptr || key == setup->head || key == setup->link->self()) continue;
    transport->revoke(key);
    self->state.allowed_peers.erase(key);
    log(LogLevel::kDebug, "the key " + net::to_z85(key) + " is no longer allowed");
  }
}

void on_refused(Self self, const Setup& setup, const Refused& refused) {
  if (refused.rejoin) {
    log(LogLevel::kWarning, "the head asks this node to join again: " + refused.outcome.text);
    // The refusal may concern the time before a greeting that is under way.
    if (self->state.phase == Phase::kMember) greet(self, setup);
    return;
  }
  stop(self, setup, refused.outcome.status());
}

void on_welcome(Self self, const Setup& setup, const Welcome& welcome) {
  NodeShell& state = self->state;
  if (state.phase != Phase::kGreeting || welcome.greeting != state.greeting) return;
  state.phase = Phase::kMember;
  state.name = welcome.name;
  if (setup->tasks) self->send(setup->tasks, join_atom::value);
  if (state.ever_joined) return;
  state.ever_joined = true;
  setup->on_joined(state.name);
}

void on_stop(Self self, const Setup& setup, const StopDaemon&) { stop(self, setup, Status::ok()); }

void on_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  static const MessageHandlers<Self, const Setup&> kFromAnyPeer = {
      on<Probe>(on_probe), on<ProbeAnswer>(on_probe_answer)};
  // Only our head gives orders.
  static const MessageHandlers<Self, const Setup&> kFromHead = {
      on<Enrolled>(on_enrolled), on<Welcome>(on_welcome),    on<Refused>(on_refused),
      on<AllowPeers>(on_allow),  on<ForgetPeers>(on_forget), on<LoadStage>(on_load),
      on<Prefetch>(on_prefetch), on<UnloadStage>(on_unload), on<Measure>(on_measure),
      on<StopDaemon>(on_stop)};
  kFromAnyPeer.handle(*setup->link, frame, self, setup);
  if (frame.peer == setup->head) kFromHead.handle(*setup->link, frame, self, setup);
}

Status no_head(const std::string& what) {
  return {Code::kUnavailable, what + "; check the address, and that 'troupe start' runs there"};
}

// True if trying again would fail in the same way, because the key was refused or the protocol
// versions differ.
bool is_final(const Status& why) {
  return why.code() == Code::kPermissionDenied || why.code() == Code::kFailedPrecondition;
}

void on_peer(Self self, const Setup& setup, const PeerEvent& event) {
  NodeShell& state = self->state;
  const bool head_control = event.peer == setup->head && event.channel == net::Channel::kControl;
  if (event.channel == net::Channel::kActivations && event.kind != PeerEvent::Kind::kLeft) {
    const bool open = event.kind == PeerEvent::Kind::kConnected;
    on_connection(self, setup, event.peer, event.why, open);
    check_measuring(self, setup);
    return;
  }
  if (!head_control || is_head(setup) || state.phase == Phase::kStopped) return;
  if (event.kind == PeerEvent::Kind::kConnected) {
    if (state.phase == Phase::kEnrolling) {
      send_enrol(self, setup);
    } else {
      greet(self, setup);  // the stages belonged to the lost connection
    }
  } else if (event.kind == PeerEvent::Kind::kDisconnected) {
    state.last_trouble = event.why;
    if (state.ever_joined) {
      forget_peers(self, setup);
      log(LogLevel::kWarning, "lost the head: " + event.why.message() + "; trying again");
      if (is_final(event.why)) stop(self, setup, event.why);
    } else if (event.why.code() == Code::kPermissionDenied && setup->token && !state.enrolled) {
      // Our head no longer knows us: enrol again with the token.
      state.enrolled = true;
      setup->link->transport()->disconnect(setup->head);
      connect(self, setup);
    } else if (is_final(event.why)) {
      stop(self, setup, event.why);
    } else if (++state.failures >= kQuickFailuresMax) {
      stop(self, setup, no_head(event.why.message()));
    }
  }
}

void tick(Self self, const Setup& setup) {
  NodeShell& state = self->state;
  const std::int64_t now = monotonic_us();
  *setup->moved_us = now;
  if (state.phase == Phase::kMember) {
    send_heartbeat(self, setup);
    check_connections(self, setup);
    check_measuring(self, setup);
  } else if (state.phase == Phase::kGreeting && now - state.hello_sent_us > kAskAgainUs) {
    send_hello(self, setup);
  } else if (state.phase == Phase::kEnrolling && state.enrol_sent_us != 0 &&
             now - state.enrol_sent_us > kAskAgainUs) {
    send_enrol(self, setup);
  }
  if (!state.ever_joined && state.phase != Phase::kStopped) {
    if (!state.logged_waiting && now - state.started_us > kLogWaitingUs) {
      state.logged_waiting = true;
      log(LogLevel::kWarning, "no answer yet from the head at " +
                                  net::to_string(setup->head_endpoint) + "; still trying");
    }
    const bool reached = !is_head(setup) && setup->link->transport()->counters().reached > 0;
    if (now - state.started_us > (reached ? kBusyPatienceUs : kJoinPatienceUs)) {
      stop(self, setup,
           no_head("no head answered at " + net::to_string(setup->head_endpoint) + " for " +
                   std::to_string((now - state.started_us) / 1'000'000) + " s" +
                   (state.last_trouble ? "" : " (" + state.last_trouble.message() + ")")));
    }
  }
}

node_actor::behavior_type node_behavior(Self self, Setup setup) {
  self->state.started_us = monotonic_us();
  self->set_exit_handler([self, setup](caf::exit_msg& message) {
    drop_all_stages(self, setup);
    self->quit(message.reason);
  });
  return {
      [self, setup](const FramePtr& frame) { on_frame(self, setup, *frame); },
      [self, setup](const PeerEventPtr& event) { on_peer(self, setup, *event); },
      [self, setup](join_atom) {
        connect(self, setup);
        if (is_head(setup)) greet(self, setup);
        self->delayed_send(self, std::chrono::microseconds(kHeartbeatUs), tick_atom::value);
      },
      [self, setup](tick_atom) {
        tick(self, setup);
        const NodeShell& state = self->state;
        const bool at_rest =
            state.phase == Phase::kMember && state.stages.empty() && !state.measuring;
        const std::int64_t pause_us = at_rest ? kRestingHeartbeatUs : kHeartbeatUs;
        self->delayed_send(self, std::chrono::microseconds(pause_us), tick_atom::value);
      },
      [self, setup](stop_atom, const std::string& why) {
        if (self->state.phase == Phase::kMember && !is_head(setup)) {
          const Status sent = setup->link->send(setup->head, MessageType::kLeave, Leave{why});
          if (!sent) log(LogLevel::kInfo, "cannot say goodbye: " + sent.message());
          self->state.phase = Phase::kStopped;  // the head would answer a heartbeat with "rejoin"
        }
        drop_all_stages(self, setup);
      },
      [self, setup](const StageResultPtr& result) { on_stage_result(self, setup, *result); },
      [self, setup](const MeasuredPtr& measured) { on_measured(self, setup, *measured); },
  };
}

}  // namespace
}  // namespace node

node_actor spawn_node(caf::actor_system& system, NodeSetup setup) {
  setup.link->set_head(setup.head);
  return system.spawn(node::node_behavior, std::make_shared<const NodeSetup>(std::move(setup)));
}

}  // namespace troupe::actors
