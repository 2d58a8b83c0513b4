#include <catch2/catch.hpp>

#include <troupe/runtime/net/sim/sim_network.h>

// Tests that the simulated network keeps the promises of the transport, and has the faults that it
// claims.

using namespace troupe;
using namespace troupe::net;

namespace {

struct SimPeer {
  SimPeer(SimNetwork& network, SimHost host) : SimPeer(network, host, host) {}
  SimPeer(SimNetwork& network, SimHost host, std::uint64_t incarnation) {
    TransportOptions options;
    options.identity.public_key = key = {static_cast<std::uint8_t>(host + 1)};
    options.cluster = 77;
    options.incarnation = incarnation + 10;
    options.listen = at = {"h" + std::to_string(host), 7700};
    Handlers handlers;
    handlers.on_frame = [this](InFrame frame) { steps.push_back(frame.header.step); };
    handlers.on_connected = [this](const PublicKey&, Channel) { ++connections; };
    handlers.on_disconnected = [this](const PublicKey&, Channel, const Status& why) {
      losses.push_back(why);
    };
    handlers.on_peer_left = [this](const PublicKey&, Channel) { ++left; };
    transport = network.open(host, options, std::move(handlers));
  }
  Status say(const SimPeer& to, std::uint64_t step, Channel channel = Channel::kControl) {
    OutFrame frame;
    frame.header.type = 9;
    frame.header.step = step;
    frame.body.resize(5);
    return transport->send(to.key, channel, std::move(frame));
  }
  PublicKey key{};
  Endpoint at;
  std::unique_ptr<Transport> transport;
  std::vector<std::uint64_t> steps;
  int connections = 0, left = 0;
  std::vector<Status> losses;
};

std::vector<std::uint64_t> up_to(std::uint64_t last) {
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t i = 1; i <= last; ++i) numbers.push_back(i);
  return numbers;
}

}  // namespace

TEST_CASE("simulated network: frames arrive once and in order, whatever is said twice",
          "[sim_network]") {
  SimOptions options;
  options.duplicate = options.replay = 3000;
  SimNetwork network(options, 0);
  SimPeer a(network, 0), b(network, 1);
  b.transport->allow(a.key, Role::kNode);
  a.transport->dial(b.key, b.at, Channel::kControl);
  for (std::uint64_t i = 1; i <= 500; ++i)
    REQUIRE(a.say(b, i).is_ok());  // these frames wait for the handshake
  network.advance(5'000'000);
  CHECK(b.steps == up_to(500));
  CHECK(b.transport->counters().rejected_sequence > 100);
  CHECK(network.faults().repeated_taken == 0);
  // The answer uses the connection that the other side made.
  REQUIRE(b.say(a, 1).is_ok());
  network.advance(6'000'000);
  CHECK(a.steps == up_to(1));
}

TEST_CASE("simulated network: a cut link keeps frames waiting, then the connection falls",
          "[sim_network]") {
  SimNetwork network({}, 0);
  SimPeer a(network, 0), b(network, 1);
  b.transport->allow(a.key, Role::kNode);
  a.transport->dial(b.key, b.at, Channel::kActivations);
  network.advance(100'000);
  REQUIRE(a.connections == 1);
  network.cut(0, 1);
  REQUIRE(a.say(b, 1, Channel::kActivations).is_ok());
  network.advance(1'000'000);
  CHECK(b.steps.empty());
  network.heal(0, 1);
  network.advance(1'100'000);
  CHECK(b.steps == up_to(1));
  network.cut(0, 1);
  REQUIRE(a.say(b, 2, Channel::kActivations).is_ok());
  network.advance(
      6'000'000);  // b receives nothing for three seconds, and hangs up: a is told about that
  CHECK(a.losses.size() >= 1);
  CHECK(b.left == 1);
  CHECK(network.faults().timed_out == 1);
  CHECK(a.say(b, 3, Channel::kActivations).code() == Code::kUnavailable);
  network.heal(0, 1);
  network.advance(20'000'000);
  CHECK(a.connections == 2);
  CHECK(b.steps == up_to(1));  // what was on its way is lost
}

TEST_CASE("simulated network: death, refusal and damage", "[sim_network]") {
  SimOptions options;
  options.damage = 2000;
  SimNetwork network(options, 0);
  SimPeer a(network, 0);
  auto b = std::make_unique<SimPeer>(network, 1);
  a.transport->dial(b->key, b->at, Channel::kControl);
  network.advance(1'000'000);
  REQUIRE(a.losses.size() == 1);
  CHECK(a.losses[0].code() == Code::kPermissionDenied);
  CHECK(b->transport->counters().refused_keys == 1);
  b->transport->allow(a.key, Role::kNode);
  a.transport->dial(b->key, b->at, Channel::kControl);
  std::uint64_t said = 0;
  for (std::int64_t now = 1'000'000; now < 60'000'000; now += 100'000) {
    network.advance(now);
    said += a.say(*b, said + 1).is_ok();
  }
  CHECK(network.faults().damaged > 5);
  CHECK(network.faults().damaged_taken == 0);
  CHECK(b->transport->counters().rejected_checksum + b->transport->counters().rejected_header +
            b->transport->counters().rejected_version ==
        network.faults().damaged);
  CHECK(b->steps.size() < said);
  CHECK(std::is_sorted(b->steps.begin(), b->steps.end()));
  const std::size_t losses = a.losses.size();
  b.reset();
  network.advance(61'000'000);
  CHECK(a.losses.size() > losses);
}

TEST_CASE("simulated network: what a cut held back comes before what was said later",
          "[sim_network]") {
  SimNetwork network({}, 0);
  SimPeer a(network, 0), b(network, 1);
  b.transport->allow(a.key, Role::kNode);
  a.transport->dial(b.key, b.at, Channel::kControl);
  network.advance(100'000);
  network.cut(0, 1);
  REQUIRE(a.say(b, 1).is_ok());
  network.advance(200'000);      // held back
  REQUIRE(a.say(b, 2).is_ok());  // the frame is on its way when the cut ends
  network.freeze(1);
  network.heal(0, 1);
  network.advance(300'000);
  network.thaw(1);
  network.advance(400'000);
  CHECK(b.steps == up_to(2));
}

TEST_CASE("simulated network: a frozen process hears everything later", "[sim_network]") {
  SimNetwork network({}, 0);
  SimPeer a(network, 0), b(network, 1);
  b.transport->allow(a.key, Role::kNode);
  a.transport->dial(b.key, b.at, Channel::kControl);
  network.advance(100'000);
  network.freeze(1);
  for (std::uint64_t i = 1; i <= 50; ++i) REQUIRE(a.say(b, i).is_ok());
  network.advance(3'000'000);
  CHECK(b.steps.empty());
  network.thaw(1);
  network.advance(3'100'000);
  CHECK(b.steps == up_to(50));
}
