#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>

#include <catch2/catch.hpp>
#include <unistd.h>

#include <troupe/tests/runtime/net/zmq/child.h>
#include <troupe/tests/runtime/net/zmq/harness.h>

// Measures how long a question and its answer take between two processes on this machine, from
// handler to handler. Hidden, because no time makes it fail; `runtime_tests "[net-latency]"` runs
// it. The figures in docs/wire.md come from here.

using namespace troupe;
using namespace troupe::net;
using namespace troupe::net::test;

// The child answers every frame with its bytes.
TEST_CASE("latency child: echoes", "[.][latency-child]") {
  const auto orders = ChildOrders::read();
  REQUIRE(orders.has_value());
  TransportOptions options;
  options.identity = orders->identity;
  options.cluster = 77;
  options.listen = Endpoint{"127.0.0.1", static_cast<std::uint16_t>(orders->port + 3)};
  Transport* self = nullptr;
  Handlers handlers;
  handlers.on_frame = [&self](InFrame frame) {
    OutFrame answer = frame_of(2, std::move(frame.body));
    answer.payload = frame.payload;
    (void)self->send(frame.peer, frame.channel, std::move(answer));
  };
  auto transport = make_zmq_transport(options, handlers);
  REQUIRE(transport.is_ok());
  self = transport->get();
  self->allow(orders->server, Role::kNode);
  std::this_thread::sleep_for(std::chrono::seconds(60));
}

TEST_CASE("latency: question and answer over loopback", "[.][net-latency]") {
  using Clock = std::chrono::steady_clock;
  const std::string seed = fresh_seed();
  const PublicKey server = child_identity(seed).public_key;
  const Endpoint endpoint = free_endpoint();
  TransportOptions options;
  options.identity = make_key_pair();
  options.cluster = 77;
  const pid_t pid = start_child("latency child: echoes", options.identity.public_key,
                                static_cast<std::uint16_t>(endpoint.port - 3), seed);
  Transport* self = nullptr;
  std::atomic<bool> connected{false}, done{false};
  std::size_t body_bytes = 0;
  Payload payload;
  std::vector<double> us;
  int left = 0;
  Clock::time_point asked;
  const auto ask = [&] {
    asked = Clock::now();
    OutFrame question = frame_of(1, std::vector<std::byte>(body_bytes));
    question.payload = payload;
    REQUIRE(self->send(server, Channel::kActivations, std::move(question)).is_ok());
  };
  Handlers handlers;
  handlers.on_connected = [&](const PublicKey&, Channel) { connected = true; };
  handlers.on_frame = [&](InFrame) {
    us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - asked).count());
    --left > 0 ? ask() : void(done = true);
  };
  const auto wait = [](const std::atomic<bool>& flag) {
    for (int i = 0; i < 20000 && !flag; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return flag.load();
  };
  auto transport = make_zmq_transport(options, handlers);
  REQUIRE(transport.is_ok());
  self = transport->get();
  self->dial(server, endpoint, Channel::kActivations);
  REQUIRE(wait(connected));
  const struct {
    std::size_t body, payload;
    int count;
  } shapes[] = {{64, 0, 3000}, {64, 2048, 3000}, {64, 65536, 500}, {64, 1048576, 100}};
  for (const auto& shape : shapes) {
    double p50 = 1e9, p99 = 1e9;
    for (int repeat = 0; repeat < 5; ++repeat) {
      body_bytes = shape.body;
      payload = payload_of(some_bytes(shape.payload));
      left = shape.count;
      us.clear();
      done = false;
      ask();
      REQUIRE(wait(done));
      std::sort(us.begin(), us.end());
      p50 = std::min(p50, us[us.size() / 2]);
      p99 = std::min(p99, us[us.size() * 99 / 100]);
    }
    std::printf("body %zu, payload %zu bytes: p50 %.0f us, p99 %.0f us (best of 5)\n", shape.body,
                shape.payload, p50, p99);
  }
  transport->reset();
  CHECK(end_child(pid));
}
