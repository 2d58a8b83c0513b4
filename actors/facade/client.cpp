#include <map>
#include <set>

#include <troupe/actors/engine/engine.h>
#include <troupe/actors/facade/client.h>
#include <troupe/actors/messages/bulk.h>
#include <troupe/runtime/log.h>

namespace troupe::actors {
namespace {

constexpr std::chrono::milliseconds kTick{250};
constexpr std::int64_t kEnrolAgainUs = 500'000;

enum class Phase { kEnrolling, kConnecting, kConnected, kLost };

struct ClientShell {
  Phase phase = Phase::kEnrolling;
  bool control_open = false, bulk_open = false, reported = false;
  std::int64_t enrol_said_us = 0;
  std::uint64_t next = 1;
  std::map<std::uint64_t, caf::typed_response_promise<ReadyPtr>> opens;
  std::map<std::uint64_t, caf::typed_response_promise<std::string>> queries;
  std::map<std::uint64_t, caf::typed_response_promise<ManagedPtr>> asks;
  std::map<std::uint64_t, caf::typed_response_promise<JobReplyPtr>> jobs;
  std::map<std::uint64_t, token_sink> sinks;  // by Submit.request
  Status lost;
};
using Self = client_actor::stateful_pointer<ClientShell>;
using Setup = std::shared_ptr<const ClientSetup>;

const net::PublicKey& head(const Setup& setup) { return setup->token.head; }

ReadyPtr refusal(const Status& why) {
  auto ready = std::make_shared<ModelReady>();
  ready->code = static_cast<std::uint8_t>(why.code());
  ready->text = why.message();
  return ready;
}

ManagedPtr denial(const Status& why) {
  auto managed = std::make_shared<Managed>();
  managed->code = static_cast<std::uint8_t>(why.code());
  managed->text = why.message();
  return managed;
}

JobReplyPtr no_job(const Status& why) {
  auto reply = std::make_shared<JobReply>();
  reply->code = static_cast<std::uint8_t>(why.code());
  reply->text = why.message();
  return reply;
}

FinishedPtr failure(std::uint64_t request, const Status& why) {
  auto finished = std::make_shared<Finished>();
  finished->request = request;
  finished->finish_reason = "error";
  finished->code = static_cast<std::uint8_t>(why.code());
  finished->error = why.message();
  return finished;
}

// The head is gone: everything that waits for it ends.
void lose(Self self, const Setup& setup, const Status& cause) {
  ClientShell& state = self->state;
  const bool was_there = state.phase == Phase::kConnected;
  const Status why =
      was_there
          ? Status(cause.code(), "lost the head at " + net::to_string(setup->head) + " (" +
                                     cause.message() +
                                     "); check that it runs ('troupe status'), then ask again")
          : cause;
  state.phase = Phase::kLost;
  state.lost = why;
  if (!state.reported) {
    state.reported = true;
    setup->on_connected(why);
  }
  for (auto& [request, promise] : state.opens) promise.deliver(refusal(why));
  for (auto& [request, promise] : state.queries) promise.deliver(std::string());
  for (auto& [request, promise] : state.asks) promise.deliver(denial(why));
  for (auto& [request, promise] : state.jobs) promise.deliver(no_job(why));
  for (auto& [request, sink] : state.sinks) self->send(sink, failure(request, why));
  state.opens.clear();
  state.queries.clear();
  state.asks.clear();
  state.jobs.clear();
  state.sinks.clear();
}

template <class Message>
Status tell(const Setup& setup, MessageType type, const Message& message) {
  return setup->link->send(head(setup), type, message);
}

void say_enrol(Self self, const Setup& setup) {
  self->state.enrol_said_us = monotonic_us();
  const Enrol enrol{setup->link->self(), static_cast<std::uint8_t>(net::Role::kClient), "client"};
  const Status sent = tell(setup, MessageType::kEnrol, enrol);
  if (!sent) log(LogLevel::kDebug, "cannot enrol yet: " + sent.message());
}

void say_hello_when_open(Self self, const Setup& setup) {
  if (!self->state.control_open || !self->state.bulk_open) return;
  Hello hello;
  hello.role = static_cast<std::uint8_t>(net::Role::kClient);
  hello.name = "client";
  const Status serving = tell(setup, MessageType::kServing, Serving{});
  const Status said = tell(setup, MessageType::kHello, hello);
  if (!serving || !said) lose(self, setup, serving ? said : serving);
}

void on_peer(Self self, const Setup& setup, const PeerEvent& event) {
  ClientShell& state = self->state;
  const bool open = event.kind == PeerEvent::Kind::kConnected;
  if (event.kind == PeerEvent::Kind::kLeft || state.phase == Phase::kLost) return;
  if (event.peer != head(setup)) {
    // A node that may ask us for weights.
    if (open && event.channel == net::Channel::kBulk) {
      const Status sent = setup->link->send(event.peer, MessageType::kServing, Serving{});
      if (!sent) log(LogLevel::kWarning, "cannot offer the model to a node: " + sent.message());
    } else if (!open) {
      log(LogLevel::kInfo, "connection to a node closed: " + event.why.message());
    }
    return;
  }
  if (!open) {
    // While connecting, a head that is only slow gets more tries; a refusal is final.
    const bool final = event.why.code() == Code::kPermissionDenied ||
                       event.why.code() == Code::kFailedPrecondition;
    if (state.phase == Phase::kConnected || final) {
      lose(self, setup, event.why);
    } else {
      state.lost = event.why;
    }
    return;
  }
  if (state.phase == Phase::kEnrolling && event.channel == net::Channel::kControl) {
    say_enrol(self, setup);
  } else if (state.phase == Phase::kConnecting) {
    if (event.channel == net::Channel::kControl) state.control_open = true;
    if (event.channel == net::Channel::kBulk) state.bulk_open = true;
    say_hello_when_open(self, setup);
  }
}

void on_enrolled(Self self, const Setup& setup, const Enrolled& enrolled) {
  if (self->state.phase != Phase::kEnrolling || enrolled.key != setup->link->self()) return;
  self->state.phase = Phase::kConnecting;
  net::Transport* transport = setup->link->transport();
  transport->disconnect(head(setup));
  transport->dial(head(setup), setup->head, net::Channel::kControl);
  transport->dial(head(setup), setup->head, net::Channel::kBulk);
}

void on_serve_peers(const Setup& setup, const ServePeers& serve) {
  net::Transport* transport = setup->link->transport();
  for (const PeerAddress& peer : serve.peers) {
    transport->allow(peer.key, net::Role::kNode);
    transport->dial(peer.key, {peer.host, peer.port}, net::Channel::kBulk);
    // One that we reached before is told again: it may have forgotten.
    const Status sent = setup->link->send(peer.key, MessageType::kServing, Serving{serve.epoch});
    if (!sent) log(LogLevel::kDebug, "will offer the model when connected: " + sent.message());
  }
}

void on_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  if (frame.peer != head(setup)) return;
  ClientShell& state = self->state;
  Link& link = *setup->link;
  switch (static_cast<MessageType>(frame.header.type)) {
    case MessageType::kEnrolled:
      if (const auto message = decode_body<Enrolled>(link, frame)) {
        on_enrolled(self, setup, *message);
      }
      break;
    case MessageType::kWelcome:
      if (const auto message = decode_body<Welcome>(link, frame)) {
        state.phase = Phase::kConnected;
        if (!state.reported) {
          state.reported = true;
          setup->on_connected(message->cluster_name);
        }
      }
      break;
    case MessageType::kRefused:
      if (const auto message = decode_body<Refused>(link, frame)) {
        lose(self, setup, Status(static_cast<Code>(message->code), message->text));
      }
      break;
    case MessageType::kServePeers:
      if (const auto message = decode_body<ServePeers>(link, frame)) {
        on_serve_peers(setup, *message);
      }
      break;
    case MessageType::kModelReady:
      if (const auto message = decode_body<ModelReady>(link, frame)) {
        auto found = state.opens.extract(message->request);
        if (!found.empty()) {
          found.mapped().deliver(std::make_shared<const ModelReady>(*message));
        }
      }
      break;
    case MessageType::kTokens:
      if (auto message = decode_body<Tokens>(link, frame)) {
        for (Token& token : message->tokens) {
          const auto sink = state.sinks.find(token.request);
          if (sink == state.sinks.end()) continue;
          self->send(sink->second, std::make_shared<const Token>(std::move(token)));
        }
      }
      break;
    case MessageType::kFinished:
      if (const auto message = decode_body<Finished>(link, frame)) {
        auto found = state.sinks.extract(message->request);
        if (!found.empty()) {
          self->send(found.mapped(), std::make_shared<const Finished>(*message));
          self->demonitor(found.mapped().address());
        }
      }
      break;
    case MessageType::kStatusReply:
      if (auto message = decode_body<StatusReply>(link, frame)) {
        auto found = state.queries.extract(message->request);
        if (!found.empty()) found.mapped().deliver(std::move(message->json));
      }
      break;
    case MessageType::kManaged:
      if (const auto message = decode_body<Managed>(link, frame)) {
        auto found = state.asks.extract(message->request);
        if (!found.empty()) found.mapped().deliver(std::make_shared<const Managed>(*message));
      }
      break;
    case MessageType::kJobReply:
      if (auto message = decode_body<JobReply>(link, frame)) {
        auto found = state.jobs.extract(message->request);
        if (!found.empty()) {
          found.mapped().deliver(std::make_shared<const JobReply>(std::move(*message)));
        }
      }
      break;
    default:
      break;
  }
}

void submit(Self self, const Setup& setup, const SubmitPtr& request, const token_sink& sink) {
  if (self->state.phase != Phase::kConnected) {
    self->send(sink, failure(request->request, self->state.lost));
    return;
  }
  const Status sent = tell(setup, MessageType::kSubmit, *request);
  if (!sent) {
    self->send(sink, failure(request->request, sent));
    return;
  }
  self->state.sinks[request->request] = sink;
  self->monitor(sink);
}

// Asks the head under a number of this connection; the answer is delivered when it comes, or
// `refuse` of why it cannot: the head is lost, or has not welcomed this client yet.
template <class Message, class Answer>
caf::typed_response_promise<Answer> ask(
    Self self, const Setup& setup, MessageType type, Message message,
    std::map<std::uint64_t, caf::typed_response_promise<Answer>>& waiting,
    Answer (*refuse)(const Status&)) {
  ClientShell& state = self->state;
  auto promise = self->template make_response_promise<Answer>();
  message.request = state.next++;
  Status sent = state.lost;
  if (state.phase == Phase::kConnected) {
    sent = tell(setup, type, message);
  } else if (sent) {
    sent = Status(Code::kUnavailable, "the head at " + net::to_string(setup->head) +
                                          " has not let this client in yet; ask again");
  }
  if (sent) {
    waiting[message.request] = promise;
  } else {
    promise.deliver(refuse(sent));
  }
  return promise;
}

client_actor::behavior_type client_behavior(Self self, Setup setup) {
  self->set_down_handler([self, setup](const caf::down_msg& down) {
    for (auto entry = self->state.sinks.begin(); entry != self->state.sinks.end();) {
      if (entry->second.address() == down.source) {
        const Status sent = tell(setup, MessageType::kCancel, Cancel{entry->first});
        if (!sent) log(LogLevel::kInfo, "cannot cancel: " + sent.message());
        entry = self->state.sinks.erase(entry);
      } else {
        ++entry;
      }
    }
  });
  return {
      [self, setup](open_atom, const OpenPtr& open) {
        return ask(self, setup, MessageType::kOpenModel, *open, self->state.opens, refusal);
      },
      [self, setup](submit_atom, const SubmitPtr& request, const token_sink& sink) {
        submit(self, setup, request, sink);
      },
      [self, setup](cancel_atom, std::uint64_t request) {
        const Status sent = tell(setup, MessageType::kCancel, Cancel{request});
        if (!sent) log(LogLevel::kInfo, "cannot cancel: " + sent.message());
      },
      [self, setup](status_atom) {
        auto promise = self->make_response_promise<std::string>();
        const std::uint64_t request = self->state.next++;
        const Status sent = tell(setup, MessageType::kStatusQuery, StatusQuery{request});
        if (sent) {
          self->state.queries[request] = promise;
        } else {
          promise.deliver(std::string());
        }
        return promise;
      },
      [self, setup](manage_atom, const ManagePtr& asked) {
        return ask(self, setup, MessageType::kManage, *asked, self->state.asks, denial);
      },
      [self, setup](job_atom, const JobAskPtr& asked) {
        return ask(self, setup, MessageType::kJobAsk, *asked, self->state.jobs, no_job);
      },
      [self, setup](plan_atom, const PlanPtr& asked) {
        return ask(self, setup, MessageType::kPlanModel, *asked, self->state.asks, denial);
      },
      [setup](stop_atom, bool everywhere) {
        const Status sent = tell(setup, MessageType::kStopCluster, StopCluster{everywhere});
        if (!sent) log(LogLevel::kWarning, "cannot stop the cluster: " + sent.message());
      },
      [self, setup](const FramePtr& frame) { on_frame(self, setup, *frame); },
      [self, setup](const PeerEventPtr& event) { on_peer(self, setup, *event); },
      [self, setup](join_atom) {
        net::Transport* transport = setup->link->transport();
        transport->allow(head(setup), net::Role::kHead);
        transport->dial(head(setup), setup->head, net::Channel::kControl,
                        net::enrolment_key_pair(setup->token));
        self->delayed_send(self, kTick, tick_atom::value);
      },
      [self, setup](tick_atom) {
        // Another client that enrols with the same key may have got our answer: say it again.
        ClientShell& state = self->state;
        if (state.phase == Phase::kEnrolling && state.enrol_said_us != 0 &&
            monotonic_us() - state.enrol_said_us > kEnrolAgainUs) {
          say_enrol(self, setup);
        }
        self->delayed_send(self, kTick, tick_atom::value);
      },
  };
}

}  // namespace

client_actor spawn_client(caf::actor_system& system, ClientSetup setup) {
  return system.spawn(client_behavior, std::make_shared<const ClientSetup>(std::move(setup)));
}

}  // namespace troupe::actors
