#include <chrono>
#include <future>
#include <span>
#include <thread>

#include <catch2/catch.hpp>

#include <troupe/actors/messages/enrolment.h>
#include <troupe/actors/messages/membership.h>
#include <troupe/actors/troupe.h>
#include <troupe/tests/actors/coordinator/bare_head.h>

// Tests a client while it connects.

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;
using namespace std::chrono_literals;

namespace {

net::InFrame frame_of_type(BareHead& head, MessageType type) {
  const auto is_it = [type](const net::InFrame& frame) {
    return frame.header.type == static_cast<std::uint16_t>(type);
  };
  REQUIRE(head.wait([&] { return std::ranges::any_of(head.frames, is_it); }));
  std::lock_guard lock(head.mutex);
  return *std::ranges::find_if(head.frames, is_it);
}

}  // namespace

TEST_CASE("client: a head that goes away before its welcome and comes back is no error") {
  net::test::PeerOptions options;
  options.identity = net::make_key_pair();
  options.at = net::test::free_endpoint();
  TemporaryHome home;
  net::PublicKey client{};
  std::future<Result<Cluster>> connecting;
  {
    BareHead head(options);
    connecting = std::async(std::launch::async, [cluster = head.join, &home] {
      return Cluster::connect({home.path, cluster, 10'000});
    });
    const net::InFrame enrolling = frame_of_type(head, MessageType::kEnrol);
    const auto enrol = wire::decode<Enrol>(std::span<const std::byte>(enrolling.body));
    REQUIRE(enrol);
    client = enrol->key;
    head.transport->allow(client, net::Role::kClient);
    (void)head.transport->send(enrolling.peer, net::Channel::kControl,
                               frame_of(MessageType::kEnrolled, Enrolled{client, 77, "mine"}));
    frame_of_type(head, MessageType::kHello);
  }
  std::this_thread::sleep_for(1200ms);  // the client says Hello every 500 ms
  options.allowed = {{client, net::Role::kClient}};
  BareHead head(options);
  const net::InFrame greeting = frame_of_type(head, MessageType::kHello);
  Welcome welcome;
  welcome.cluster_name = "mine";
  (void)head.transport->send(greeting.peer, net::Channel::kControl,
                             frame_of(MessageType::kWelcome, welcome));
  const auto cluster = connecting.get();
  INFO(cluster.status().message());
  CHECK(cluster.is_ok());
}
