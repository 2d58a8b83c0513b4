#include <algorithm>
#include <chrono>
#include <future>
#include <mutex>
#include <span>
#include <stdexcept>

#include <catch2/catch.hpp>

#include <troupe/actors/messages/deploy.h>
#include <troupe/actors/messages/enrolment.h>
#include <troupe/actors/messages/membership.h>
#include <troupe/tests/actors/coordinator/bare_head.h>

// Tests which peers a node listens to, as its head says.

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;
using namespace std::chrono_literals;
using net::Channel;

TEST_CASE("membership: a node that joins anew hears nobody whom its head has not allowed since",
          "[membership]") {
  BareHead head;
  TemporaryHome home;
  const DaemonOptions options = head.joining(home);
  auto starting = std::async(std::launch::async, [&] { return Daemon::start(options); });
  const auto nth = [&](MessageType type, std::size_t n) {
    const auto count = [&] {
      return static_cast<std::size_t>(
          std::count_if(head.frames.begin(), head.frames.end(), [&](const net::InFrame& frame) {
            return frame.header.type == static_cast<std::uint16_t>(type);
          }));
    };
    REQUIRE(head.wait([&] { return count() >= n; }));
    std::lock_guard lock(head.mutex);
    for (const net::InFrame& frame : head.frames)
      if (frame.header.type == static_cast<std::uint16_t>(type) && --n == 0) return frame;
    throw std::logic_error("counted, and not there");
  };
  const net::InFrame enrolling = nth(MessageType::kEnrol, 1);
  const auto enrol = wire::decode<Enrol>(std::span<const std::byte>(enrolling.body));
  REQUIRE(enrol);
  head.transport->allow(enrol->key, net::Role::kNode);
  const auto say = [&](const net::PublicKey& to, MessageType type, const auto& message) {
    (void)head.transport->send(to, Channel::kControl, frame_of(type, message));
  };
  say(enrolling.peer, MessageType::kEnrolled, Enrolled{enrol->key, 77, "mine"});
  const auto welcome = [&](const net::InFrame& greeting) {
    const auto hello = wire::decode<Hello>(std::span<const std::byte>(greeting.body));
    REQUIRE(hello);
    Welcome answer;
    answer.name = "node";
    answer.heartbeat_ms = 200;
    answer.lease_ms = 2000;
    answer.greeting = hello->greeting;
    say(greeting.peer, MessageType::kWelcome, answer);
    return hello->greeting;
  };
  const net::InFrame greeting = nth(MessageType::kHello, 1);
  const std::uint32_t first = welcome(greeting);
  REQUIRE(starting.wait_for(5s) == std::future_status::ready);
  auto node = starting.get();
  REQUIRE(node);

  net::test::PeerOptions bare;
  bare.listen = false;
  net::test::Peer other(bare);
  const auto knock = [&] {
    other.transport->disconnect(enrol->key);
    other.transport->dial(enrol->key, options.listen, Channel::kControl);
  };
  PeerAddress address;
  address.key = other.key;
  address.role = static_cast<std::uint8_t>(net::Role::kNode);
  say(greeting.peer, MessageType::kAllowPeers, AllowPeers{1, {address}, {}, {}});
  nth(MessageType::kPeersAllowed, 1);
  knock();
  CHECK(other.wait_connected(1));

  // The head asks the node to join again: peers that it allowed before may have been revoked since.
  say(greeting.peer, MessageType::kRefused,
      Refused{Status(Code::kFailedPrecondition, "its lease had ended"), true});
  std::size_t hellos = 2;
  while (welcome(nth(MessageType::kHello, hellos)) == first) ++hellos;
  knock();
  REQUIRE(other.wait([&] {
    return std::any_of(other.losses.begin(), other.losses.end(), [](const net::test::Loss& loss) {
      return loss.why.code() == Code::kPermissionDenied;
    });
  }));
  CHECK(other.connections.size() == 1);
  say(greeting.peer, MessageType::kAllowPeers, AllowPeers{2, {address}, {}, {}});
  nth(MessageType::kPeersAllowed, 2);
  knock();
  CHECK(other.wait_connected(2));
}
