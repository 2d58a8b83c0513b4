#include <map>
#include <set>

#include <troupe/actors/bulk/fetch_rights.h>
#include <troupe/actors/facade/client.h>
#include <troupe/actors/message_handlers.h>
#include <troupe/actors/messages/bulk.h>
#include <troupe/actors/messages/enrolment.h>
#include <troupe/runtime/clock.h>
#include <troupe/runtime/log.h>

namespace troupe::actors {
namespace {

constexpr std::chrono::milliseconds kTick{250};
// An answer that has not come within this time is asked for again.
constexpr std::int64_t kAskAgainUs = 500'000;
// How often a client enrols (enter()) before a refusal of its key is final.
constexpr int kEntriesMax = 5;

enum class Phase { kEnrolling, kConnecting, kConnected, kLost };

// The questions that the head has not answered yet, by the number that they carry.
template <class Answer>
using Waiting = std::map<std::uint64_t, caf::typed_response_promise<std::shared_ptr<const Answer>>>;

struct ClientShell {
  Phase phase = Phase::kEnrolling;
  bool by_identity = false;  // it enrols by its identity, not by the token
  int entered = 0;           // how often it began to enrol
  bool control_open = false, bulk_open = false, reported = false;
  std::int64_t enrol_sent_us = 0, hello_sent_us = 0;
  std::uint64_t next = 1;
  Waiting<ModelReady> opens;
  Waiting<Managed> asks;
  Waiting<JobReply> jobs;
  std::map<std::uint64_t, caf::typed_response_promise<std::string>> queries;
  std::map<std::uint64_t, token_sink> sinks;  // by Submit.request
  Status lost;
};
using Self = client_actor::stateful_pointer<ClientShell>;
using Setup = std::shared_ptr<const ClientSetup>;

const net::PublicKey& head(const Setup& setup) { return setup->token.head; }

// Makes an answer that only says why the question has failed.
template <class Answer>
std::shared_ptr<const Answer> failed(const Status& why) {
  auto answer = std::make_shared<Answer>();
  answer->outcome = why;
  return answer;
}

FinishedPtr failed(std::uint64_t request, const Status& why) {
  return std::make_shared<const Finished>(failed_request(request, why));
}

// Returns the failure of a client that was welcomed by a head which is now lost.
Status lost_head(const Setup& setup, const Status& cause) {
  if (cause.code() == Code::kPermissionDenied) return cause;
  return Status(cause.code(), "lost the head at " + net::to_string(setup->head) + " (" +
                                  cause.message() +
                                  "); check that it runs ('troupe status'), then ask again");
}

// Says that the head is gone: everything that waits for an answer from it fails.
void lose(Self self, const Setup& setup, const Status& cause) {
  ClientShell& state = self->state;
  const bool was_there = state.phase == Phase::kConnected;
  const Status why = was_there ? lost_head(setup, cause) : cause;
  state.phase = Phase::kLost;
  state.lost = why;
  if (!state.reported) {
    state.reported = true;
    setup->on_connected(why);
  }
  for (auto& [request, promise] : state.opens) promise.deliver(failed<ModelReady>(why));
  for (auto& [request, promise] : state.queries) promise.deliver(std::string());
  for (auto& [request, promise] : state.asks) promise.deliver(failed<Managed>(why));
  for (auto& [request, promise] : state.jobs) promise.deliver(failed<JobReply>(why));
  for (auto& [request, sink] : state.sinks) self->send(sink, failed(request, why));
  state.opens.clear();
  state.queries.clear();
  state.asks.clear();
  state.jobs.clear();
  state.sinks.clear();
}

template <class Message>
Status send(const Setup& setup, const Message& message) {
  return setup->link->send(head(setup), Message::kType, message);
}
// Sends what a user asks. If the connection is gone, the error says what to do.
template <class Message>
Status send_asked(const Setup& setup, const Message& message) {
  const Status sent = send(setup, message);
  return sent.code() == Code::kUnavailable ? lost_head(setup, sent) : sent;
}

void send_enrol(Self self, const Setup& setup) {
  self->state.enrol_sent_us = monotonic_us();
  const net::KeyPair door =
      self->state.by_identity ? setup->identity : net::enrolment_key_pair(setup->token);
  const EnrolmentPlace place{setup->token.cluster, door.public_key, setup->link->incarnation()};
  const Enrol enrol = make_enrol(place, head(setup), setup->link->identity(), setup->identity,
                                 net::Role::kClient, "client");
  const Status sent = send(setup, enrol);
  if (!sent) log(LogLevel::kDebug, "cannot enrol yet: " + sent.message());
}

void send_hello_when_open(Self self, const Setup& setup) {
  if (!self->state.control_open || !self->state.bulk_open) return;
  self->state.hello_sent_us = monotonic_us();
  Hello hello;
  hello.role = static_cast<std::uint8_t>(net::Role::kClient);
  hello.name = "client";
  const Status serving = send(setup, Serving{});
  const Status greeted = send(setup, hello);
  // A connection that broke since it opened is made again, and then tick() says Hello again.
  for (const Status& sent : {serving, greeted})
    if (!sent) log(LogLevel::kDebug, "cannot say Hello yet: " + sent.message());
}

void enter(const Setup& setup, const net::KeyPair& door) {
  net::Transport* transport = setup->link->transport();
  transport->disconnect(head(setup));
  transport->dial(head(setup), setup->head, net::Channel::kControl, door);
}

// Begins to enrol, for the first time or again.
void enter_from_outside(Self self, const Setup& setup) {
  ClientShell& state = self->state;
  ++state.entered;
  state.phase = Phase::kEnrolling;
  state.control_open = state.bulk_open = false;
  state.enrol_sent_us = state.hello_sent_us = 0;
  state.by_identity = setup->known;
  enter(setup, setup->known ? setup->identity : net::enrolment_key_pair(setup->token));
}

void on_peer(Self self, const Setup& setup, const PeerEvent& event) {
  ClientShell& state = self->state;
  const bool open = event.kind == PeerEvent::Kind::kConnected;
  if (event.kind == PeerEvent::Kind::kLeft || state.phase == Phase::kLost) return;
  if (event.peer != head(setup)) {
    // The peer is a node that may ask us for weights.
    if (open && event.channel == net::Channel::kBulk) {
      const Status sent = setup->link->send(event.peer, MessageType::kServing, Serving{});
      if (!sent) log(LogLevel::kWarning, "cannot offer the model to a node: " + sent.message());
    } else if (!open) {
      log(LogLevel::kInfo, "connection to a node closed: " + event.why.message());
    }
    return;
  }
  if (!open) {
    const bool refused = event.why.code() == Code::kPermissionDenied;
    if (state.phase == Phase::kEnrolling && event.channel != net::Channel::kControl) return;
    // The head does not know our identity, or no longer knows it: the token may let it in.
    if (state.phase == Phase::kEnrolling && state.by_identity && refused) {
      state.by_identity = false;
      return enter(setup, net::enrolment_key_pair(setup->token));
    }
    // The head forgets the key of a connection that breaks before its Welcome.
    if (state.phase == Phase::kConnecting && refused && state.entered < kEntriesMax) {
      return enter_from_outside(self, setup);
    }
    // While connecting, we try again if the head is merely slow; a refusal is final.
    const bool final = event.why.code() == Code::kPermissionDenied ||
                       event.why.code() == Code::kFailedPrecondition;
    if (state.phase == Phase::kConnected || final) {
      lose(self, setup, event.why);
    } else {
      state.lost = event.why;
      if (event.channel == net::Channel::kControl) state.control_open = false;
      if (event.channel == net::Channel::kBulk) state.bulk_open = false;
    }
    return;
  }
  if (state.phase == Phase::kEnrolling && event.channel == net::Channel::kControl) {
    send_enrol(self, setup);
  } else if (state.phase == Phase::kConnecting) {
    if (event.channel == net::Channel::kControl) state.control_open = true;
    if (event.channel == net::Channel::kBulk) state.bulk_open = true;
    send_hello_when_open(self, setup);
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

void on_serve_peers(Self self, const Setup& setup, const ServePeers& serve) {
  net::Transport* transport = setup->link->transport();
  self->send(setup->bulk,
             std::make_shared<const FetchGrant>(grant_of(serve.manifest, serve.fetchers)));
  for (const PeerAddress& peer : serve.peers) {
    transport->allow(peer.key, net::Role::kNode);
    transport->dial(peer.key, {peer.host, peer.port}, net::Channel::kBulk);
    // A node that we had reached before is told again, because it may have forgotten us.
    const Status sent = setup->link->send(peer.key, MessageType::kServing, Serving{serve.epoch});
    if (!sent) log(LogLevel::kDebug, "will offer the model when connected: " + sent.message());
  }
}

void on_welcome(Self self, const Setup& setup, const Welcome& welcome) {
  if (self->state.phase != Phase::kConnecting) return;  // a Hello was sent twice
  self->state.phase = Phase::kConnected;
  if (self->state.reported) return;
  self->state.reported = true;
  setup->on_connected(welcome.cluster_name);
}

void on_refused(Self self, const Setup& setup, const Refused& refused) {
  lose(self, setup, refused.outcome.status());
}

// Gives the answer to the request that waits for it.
template <class Answer>
void deliver(Waiting<Answer>& waiting, Answer answer) {
  auto found = waiting.extract(answer.request);
  if (found.empty()) return;
  found.mapped().deliver(std::make_shared<const Answer>(std::move(answer)));
}

void on_ready(Self self, const Setup&, ModelReady ready) {
  deliver(self->state.opens, std::move(ready));
}
void on_managed(Self self, const Setup&, Managed managed) {
  deliver(self->state.asks, std::move(managed));
}
void on_job_reply(Self self, const Setup&, JobReply reply) {
  deliver(self->state.jobs, std::move(reply));
}

void on_status(Self self, const Setup&, StatusReply reply) {
  auto found = self->state.queries.extract(reply.request);
  if (!found.empty()) found.mapped().deliver(std::move(reply.json));
}

void on_tokens(Self self, const Setup&, Tokens tokens) {
  for (Token& token : tokens.tokens) {
    const auto sink = self->state.sinks.find(token.request);
    if (sink == self->state.sinks.end()) continue;
    self->send(sink->second, std::make_shared<const Token>(std::move(token)));
  }
}

void on_finished(Self self, const Setup&, Finished finished) {
  auto found = self->state.sinks.extract(finished.request);
  if (found.empty()) return;
  self->send(found.mapped(), std::make_shared<const Finished>(std::move(finished)));
  self->demonitor(found.mapped().address());
}

void on_frame(Self self, const Setup& setup, const net::InFrame& frame) {
  static const MessageHandlers<Self, const Setup&> kFromHead = {
      on<Enrolled>(on_enrolled),      on<Welcome>(on_welcome),    on<Refused>(on_refused),
      on<ServePeers>(on_serve_peers), on<ModelReady>(on_ready),   on<Tokens>(on_tokens),
      on<Finished>(on_finished),      on<StatusReply>(on_status), on<Managed>(on_managed),
      on<JobReply>(on_job_reply)};
  if (frame.peer == head(setup)) kFromHead.handle(*setup->link, frame, self, setup);
}

void submit(Self self, const Setup& setup, const SubmitPtr& request, const token_sink& sink) {
  if (self->state.phase != Phase::kConnected) {
    self->send(sink, failed(request->request, self->state.lost));
    return;
  }
  const Status sent = send_asked(setup, *request);
  if (!sent) {
    self->send(sink, failed(request->request, sent));
    return;
  }
  self->state.sinks[request->request] = sink;
  self->monitor(sink);
}

// Asks the head, under a number of this connection. The answer is delivered when it comes. If the
// head is lost, or has not welcomed this client yet, the answer is a failure that says so.
template <class Answer, class Message>
caf::typed_response_promise<std::shared_ptr<const Answer>> ask(Self self, const Setup& setup,
                                                               Message message,
                                                               Waiting<Answer>& waiting) {
  ClientShell& state = self->state;
  auto promise = self->template make_response_promise<std::shared_ptr<const Answer>>();
  message.request = state.next++;
  Status sent = state.lost;
  if (state.phase == Phase::kConnected) {
    sent = send_asked(setup, message);
  } else if (sent) {
    sent = Status(Code::kUnavailable, "the head at " + net::to_string(setup->head) +
                                          " has not let this client in yet; ask again");
  }
  if (sent) {
    waiting[message.request] = promise;
  } else {
    promise.deliver(failed<Answer>(sent));
  }
  return promise;
}

// Asks for the status as JSON; the answer is "" if the head cannot be asked.
caf::typed_response_promise<std::string> ask_status(Self self, const Setup& setup) {
  auto promise = self->make_response_promise<std::string>();
  const std::uint64_t request = self->state.next++;
  const Status sent = send(setup, StatusQuery{request});
  if (sent) {
    self->state.queries[request] = promise;
  } else {
    promise.deliver(std::string());
  }
  return promise;
}

void cancel(const Setup& setup, std::uint64_t request) {
  const Status sent = send(setup, Cancel{request});
  if (!sent) log(LogLevel::kInfo, "cannot cancel: " + sent.message());
}

// Cancels the requests of a sink that is gone.
void drop_sink(Self self, const Setup& setup, const caf::actor_addr& gone) {
  for (auto entry = self->state.sinks.begin(); entry != self->state.sinks.end();) {
    if (entry->second.address() != gone) {
      ++entry;
      continue;
    }
    cancel(setup, entry->first);
    entry = self->state.sinks.erase(entry);
  }
}

void join(Self self, const Setup& setup) {
  net::Transport* transport = setup->link->transport();
  transport->allow(head(setup), net::Role::kHead);
  enter_from_outside(self, setup);
  self->delayed_send(self, kTick, tick_atom::value);
}

void tick(Self self, const Setup& setup) {
  // Either another client that enrols with the same key got our answer, or the head was not
  // listening yet.
  const ClientShell& state = self->state;
  const std::int64_t now = monotonic_us();
  if (state.phase == Phase::kEnrolling && state.enrol_sent_us != 0 &&
      now - state.enrol_sent_us > kAskAgainUs) {
    send_enrol(self, setup);
  } else if (state.phase == Phase::kConnecting && state.hello_sent_us != 0 &&
             now - state.hello_sent_us > kAskAgainUs) {
    send_hello_when_open(self, setup);
  }
  self->delayed_send(self, kTick, tick_atom::value);
}

client_actor::behavior_type client_behavior(Self self, Setup setup) {
  self->set_down_handler(
      [self, setup](const caf::down_msg& down) { drop_sink(self, setup, down.source); });
  return {
      [self, setup](open_atom, const OpenPtr& open) {
        return ask(self, setup, *open, self->state.opens);
      },
      [self, setup](submit_atom, const SubmitPtr& request, const token_sink& sink) {
        submit(self, setup, request, sink);
      },
      [setup](cancel_atom, std::uint64_t request) { cancel(setup, request); },
      [self, setup](status_atom) { return ask_status(self, setup); },
      [self, setup](manage_atom, const ManagePtr& asked) {
        return ask(self, setup, *asked, self->state.asks);
      },
      [self, setup](job_atom, const JobAskPtr& asked) {
        return ask(self, setup, *asked, self->state.jobs);
      },
      [self, setup](plan_atom, const PlanPtr& asked) {
        return ask(self, setup, *asked, self->state.asks);
      },
      [self, setup](const FramePtr& frame) { on_frame(self, setup, *frame); },
      [self, setup](const PeerEventPtr& event) { on_peer(self, setup, *event); },
      [self, setup](join_atom) { join(self, setup); },
      [self, setup](tick_atom) { tick(self, setup); },
  };
}

}  // namespace

client_actor spawn_client(caf::actor_system& system, ClientSetup setup) {
  setup.link->set_head(setup.token.head);
  return system.spawn(client_behavior, std::make_shared<const ClientSetup>(std::move(setup)));
}

}  // namespace troupe::actors
