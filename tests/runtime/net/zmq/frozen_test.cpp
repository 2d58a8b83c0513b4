#include <chrono>
#include <csignal>
#include <thread>

#include <catch2/catch.hpp>
#include <sys/wait.h>

#include <troupe/tests/runtime/net/zmq/child.h>
#include <troupe/tests/runtime/net/zmq/harness.h>

// Tests processes that are stopped for some seconds (Ctrl-Z, a suspended laptop, a paused machine)
// and continue: their peers have closed the connections, and more lies in their sockets than they
// can take at once.

using namespace troupe;
using namespace troupe::net;
using namespace troupe::net::test;
using namespace std::chrono_literals;

// The child receives a stream on the control and the bulk channel.
TEST_CASE("frozen child: listens", "[.][frozen-child]") {
  const auto orders = ChildOrders::read();
  REQUIRE(orders.has_value());
  PeerOptions options;
  options.identity = orders->identity;
  options.listen = false;
  Peer peer(options);
  for (const Channel channel : {Channel::kControl, Channel::kBulk}) {
    peer.transport->dial(orders->server, {"127.0.0.1", orders->port}, channel);
  }
  REQUIRE(peer.wait_connected(2));
  for (const Channel channel : {Channel::kControl, Channel::kBulk}) {
    REQUIRE(peer.transport->send(orders->server, channel, frame_of(1)).is_ok());
  }
  std::this_thread::sleep_for(60s);
}

TEST_CASE("transport: a process that was stopped in the middle of a stream goes on", "[frozen]") {
  constexpr std::size_t kChildren = 12;
  Peer server;
  std::vector<pid_t> children;
  std::vector<PublicKey> keys;
  for (std::size_t i = 0; i < kChildren; ++i) {
    const std::string seed = fresh_seed();
    keys.push_back(child_identity(seed).public_key);
    server.transport->allow(keys.back(), Role::kClient);
    children.push_back(
        start_child("frozen child: listens", server.key, server.endpoint.port, seed));
  }
  REQUIRE(server.wait_frames(2 * kChildren, 20'000));
  const auto stream_for = [&](std::chrono::milliseconds time) {
    const auto until = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < until) {
      for (const PublicKey& key : keys) {
        // Frames that cannot be sent are lost: the queue is full, or the connection is closed.
        (void)server.transport->send(key, Channel::kControl, frame_of(2, some_bytes(200)));
        (void)server.transport->send(key, Channel::kBulk, frame_of(2, {}, some_bytes(20'000)));
      }
      std::this_thread::sleep_for(1ms);
    }
  };
  stream_for(200ms);
  for (const pid_t child : children) ::kill(child, SIGSTOP);
  stream_for(8500ms);
  // Pings went unanswered: the control connections are closed from here.
  CHECK(server.wait([&] { return server.left.size() >= kChildren; }));
  for (const pid_t child : children) ::kill(child, SIGCONT);
  std::this_thread::sleep_for(2s);
  for (const pid_t child : children) {
    int status = 0;
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    CHECK(ended == 0);
    if (ended == child && WIFSIGNALED(status)) CHECK(WTERMSIG(status) == 0);
    ::kill(child, SIGKILL);
    if (ended == 0) ::waitpid(child, &status, 0);
  }
}
