#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/budgets.h>
#include <troupe/actors/messages/enrolment.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/actors/troupe.h>
#include <troupe/model/store/model_id.h>
#include <troupe/runtime/wire/codec.h>
#include <troupe/tests/actors/coordinator/bare_head.h>
#include <troupe/tests/actors/coordinator/real_head.h>
#include <troupe/tests/actors/temporary_home.h>
#include <troupe/tests/runtime/net/zmq/harness.h>

// A real head, and clients that ask for more than they may.

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;
using net::Channel;

namespace {

// A client that writes its own frames, and has the weights of whatever it names, but never serves
// them.
struct Client : net::test::Peer {
  Client(const net::Token& with, const net::Endpoint& at) : Client(with, at, options_of(with)) {}
  Client(const net::Token& with, const net::Endpoint& at, const net::test::PeerOptions& options)
      : Peer(options),
        token(with),
        head(at),
        own(*options.identity),
        incarnation(options.incarnation) {}
  static net::test::PeerOptions options_of(const net::Token& token) {
    net::test::PeerOptions options;
    options.identity = net::make_key_pair();
    options.incarnation = net::random_u64();
    options.cluster = token.cluster;
    options.listen = false;
    return options;
  }
  template <class Message>
  void say(const Message& message) {
    (void)transport->send(token.head, Channel::kControl, frame_of(Message::kType, message));
  }
  template <class Message>
  std::vector<Message> heard() {
    std::lock_guard lock(mutex);
    std::vector<Message> all;
    for (const net::InFrame& frame : frames) {
      if (frame.header.type != static_cast<std::uint16_t>(Message::kType)) continue;
      const auto message = wire::decode<Message>(std::span<const std::byte>(frame.body));
      if (message) all.push_back(*message);
    }
    return all;
  }
  void enter() {
    const net::KeyPair door = net::enrolment_key_pair(token), identity = net::make_key_pair();
    transport->dial(token.head, head, Channel::kControl, door);
    REQUIRE(wait_connected(1));
    const EnrolmentPlace place{token.cluster, door.public_key, incarnation};
    say(make_enrol(place, token.head, own, identity, net::Role::kClient, "client"));
    REQUIRE(wait([&] { return frames.size() == 1; }));
    REQUIRE(heard<Enrolled>().size() == 1);
    transport->disconnect(token.head);
    transport->dial(token.head, head, Channel::kControl);
    REQUIRE(wait_connected(2));
    Hello hello;
    hello.role = static_cast<std::uint8_t>(net::Role::kClient);
    hello.name = "client";
    say(hello);
  }
  // Brings a model that is only a header, which never comes.
  void open(std::uint64_t request, char digit) {
    OpenModel open;
    open.request = request;
    open.has_manifest = true;
    open.manifest.name = "never";
    open.manifest.header = {std::string(64, digit), 1000};
    open.manifest.model = *model::model_id(open.manifest);
    open.model = open.manifest.model;
    say(open);
  }
  ModelReady answer(std::uint64_t request) {
    const auto found = [&]() -> std::optional<ModelReady> {
      for (const ModelReady& ready : heard<ModelReady>()) {
        if (ready.request == request) return ready;
      }
      return std::nullopt;
    };
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!found() && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    const auto ready = found();
    REQUIRE(ready);
    return *ready;
  }

  net::Token token;
  net::Endpoint head;
  net::KeyPair own;
  std::uint64_t incarnation;
};

}  // namespace

TEST_CASE("budgets: opens beyond a client's share are refused in words, and others do not notice",
          "[membership]") {
  TemporaryHome home, others_home;
  net::Endpoint at;
  const auto daemon = start_head(home, &at);
  REQUIRE(daemon);
  auto admin = Cluster::connect({home.path, net::to_string(at), 5000});
  REQUIRE(admin);
  const auto made = admin->new_token({"user", 2, 0});
  REQUIRE(made);
  const net::Token token = *net::parse_token(made->token.substr(0, made->token.find('@')));
  Client greedy(token, at);
  greedy.enter();
  const Budget budget = budget_of(net::Role::kClient);
  REQUIRE(budget.models == 4);
  std::uint64_t request = 0;
  for (const char digit : {'a', 'b', 'c', 'd'}) greedy.open(++request, digit);
  // A fifth model has to wait, but whoever opens one of those four again does not.
  greedy.open(++request, 'e');
  const ModelReady fifth = greedy.answer(request);
  CHECK(fifth.outcome.status().code() == Code::kResourceExhausted);
  CHECK(fifth.outcome.text.find("brings 4 other models") != std::string::npos);
  for (std::size_t i = budget.models; i < budget.opens; ++i) greedy.open(++request, 'a');
  greedy.open(++request, 'b');
  const ModelReady over = greedy.answer(request);
  CHECK(over.outcome.status().code() == Code::kResourceExhausted);
  CHECK(over.outcome.text.find("waiting for " + std::to_string(budget.opens) + " models already") !=
        std::string::npos);
  CHECK(greedy.heard<ModelReady>().size() == 2);  // the others wait

  auto other = Cluster::connect({others_home.path, made->token, 5000});
  REQUIRE(other);
  GenerateRequest asked;
  asked.model = "model:" + std::string(64, 'f');
  asked.prompt = "x";
  const auto answer = other->generate(asked, {});
  CHECK(answer.code() == Code::kNotFound);  // an error of its own model, not of anybody's budget
}
