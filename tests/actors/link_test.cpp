#include <future>

#include <catch2/catch.hpp>

#include <troupe/actors/link.h>
#include <troupe/runtime/net/sim/sim_network.h>

// Tests which frames the link drops before any actor sees them: those that their sender may not
// send, of epochs that no actor serves, and of types that do not exist.

using namespace troupe;
using namespace troupe::actors;

namespace {

constexpr net::Role kRoles[] = {net::Role::kHead,  net::Role::kNode,   net::Role::kClient,
                                net::Role::kEnrol, net::Role::kServer, net::Role::kOperator,
                                net::Role::kAdmin};
constexpr std::size_t kPeers = std::size(kRoles);

struct Peers {
  Peers() : network({}, 0) {
    net::TransportOptions options;
    options.identity.public_key = {1};
    options.cluster = 77;
    options.incarnation = 5;
    options.listen = net::Endpoint{"h0", 7700};
    for (std::size_t i = 0; i < kPeers; ++i) options.allowed.emplace_back(key_of(i), kRoles[i]);
    link = *Link::open(options,
                       [&](const net::TransportOptions& with,
                           net::Handlers handlers) -> Result<std::unique_ptr<net::Transport>> {
                         return network.open(0, with, std::move(handlers));
                       });
    link->set_head(key_of(0));
    for (std::size_t i = 0; i < kPeers; ++i) {
      net::TransportOptions own;
      own.identity.public_key = key_of(i);
      own.cluster = 77;
      own.incarnation = 10 + i;
      transports.push_back(network.open(1 + i, own, {}));
      for (int channel = 0; channel < net::kChannels; ++channel) {
        transports[i]->dial({1}, *options.listen, static_cast<net::Channel>(channel));
      }
    }
    network.advance(now += 100'000);
  }
  static net::PublicKey key_of(std::size_t i) { return {static_cast<std::uint8_t>(10 + i)}; }
  LinkCounters say(std::size_t who, net::Channel channel, std::uint16_t type) {
    net::OutFrame frame;
    frame.header.type = type;
    frame.header.epoch = 3;
    REQUIRE(transports[who]->send({1}, channel, std::move(frame)).is_ok());
    network.advance(now += 10'000);
    return link->counters();
  }
  net::SimNetwork network;
  std::int64_t now = 0;
  std::shared_ptr<Link> link;
  std::vector<std::unique_ptr<net::Transport>> transports;
};

}  // namespace

TEST_CASE("link: who may not say a message, or says it on another channel, is not heard") {
  Peers peers;
  std::uint64_t wrong = 0, taken = 0;
  for (const MessageRow& row : message_rows()) {
    for (std::size_t who = 0; who < kPeers; ++who) {
      for (int i = 0; i < net::kChannels; ++i) {
        const auto channel = static_cast<net::Channel>(i);
        const auto counters = peers.say(who, channel, static_cast<std::uint16_t>(row.type));
        const bool may = (row.senders & role_bit(kRoles[who])) != 0 && channel == row.channel;
        ++(may ? taken : wrong);
        INFO(row.name << " of a " << net::role_name(kRoles[who]) << " on "
                      << net::channel_name(channel));
        REQUIRE(counters.wrong_role_frames == wrong);
        // No actor is attached: permitted frames find no receiver.
        REQUIRE(counters.unknown_frames + counters.stale_frames == taken);
      }
    }
  }
  CHECK(peers.link->counters().stale_frames == 6);  // three kinds of steps, of a head and a node
  CHECK(wrong > 300);
}

TEST_CASE("link: steps come from the stage before, results from the last, failures from the path") {
  caf::actor_system_config config;
  caf::actor_system system(config);
  Peers peers;
  const auto sink =
      system.spawn([](int) -> frame_sink::behavior_type { return {[](const FramePtr&) {}}; }, 0);
  // Roles 0 and 1 may send steps: the head and one node. Epoch 3 is what say() names.
  const net::PublicKey head = Peers::key_of(0), node = Peers::key_of(1);
  const auto strange = [&](std::size_t who, MessageType type) {
    const std::uint64_t before = peers.link->counters().strange_frames;
    const auto number = static_cast<std::uint16_t>(type);
    return peers.say(who, find_message(number)->channel, number).strange_frames > before;
  };
  peers.link->attach_worker(3, head, sink);
  CHECK_FALSE(strange(0, MessageType::kStep));
  CHECK(strange(1, MessageType::kStep));
  peers.link->attach_engine(3, {node, {node}}, sink);
  CHECK(strange(0, MessageType::kStepDone));
  CHECK_FALSE(strange(1, MessageType::kStepDone));
  CHECK(strange(0, MessageType::kStepFailed));
  CHECK_FALSE(strange(1, MessageType::kStepFailed));
  // A stage in the middle may report a failure, and nothing else. Its only connection for
  // activations leads to the next stage, but it has one for control to the head.
  CHECK(find_message(static_cast<std::uint16_t>(MessageType::kStepFailed))->channel ==
        net::Channel::kControl);
  peers.link->attach_engine(3, {head, {node, head}}, sink);
  CHECK_FALSE(strange(1, MessageType::kStepFailed));
  CHECK(strange(1, MessageType::kStepDone));
  CHECK(peers.link->counters().stale_frames == 0);
  peers.link->close();
}

TEST_CASE("link: what belongs to another epoch is dropped, whoever says it") {
  caf::actor_system_config config;
  caf::actor_system system(config);
  Peers peers;
  const auto sink =
      system.spawn([](int) -> frame_sink::behavior_type { return {[](const FramePtr&) {}}; }, 0);
  // What say() says is of epoch 3, and comes from the right stages of epochs 2 and 4.
  const net::PublicKey head = Peers::key_of(0), node = Peers::key_of(1);
  for (const std::uint64_t epoch : {2, 4}) {
    peers.link->attach_worker(epoch, head, sink);
    peers.link->attach_engine(epoch, {node, {node}}, sink);
  }
  std::uint64_t stale = 0;
  const auto drops = [&](std::size_t who, MessageType type) {
    const auto number = static_cast<std::uint16_t>(type);
    const LinkCounters counters = peers.say(who, find_message(number)->channel, number);
    return counters.stale_frames == ++stale && counters.strange_frames == 0;
  };
  CHECK(drops(0, MessageType::kStep));
  CHECK(drops(1, MessageType::kStepDone));
  CHECK(drops(1, MessageType::kStepFailed));
  peers.link->close();
}

TEST_CASE("link: a client that sends too much is told, and the others are heard") {
  Peers peers;
  constexpr auto kQuery = static_cast<std::uint16_t>(MessageType::kStatusQuery);
  LinkCounters counters;
  for (int i = 0; i < 200'000 && counters.hasty_frames == 0; ++i) {
    net::OutFrame frame;
    frame.header.type = kQuery;
    REQUIRE(peers.transports[2]->send({1}, net::Channel::kControl, std::move(frame)).is_ok());
    peers.network.advance(peers.now += 10);
    counters = peers.link->counters();
  }
  CHECK(counters.hasty_frames > 0);
  peers.network.advance(peers.now += 1'000'000);  // what is still under way arrives
  counters = peers.link->counters();
  const std::uint64_t hasty = counters.hasty_frames;
  counters = peers.say(6, net::Channel::kControl, kQuery);  // an admin
  CHECK(counters.hasty_frames == hasty);
}

TEST_CASE("link: a node that sends too much is not heard, and others are, as are steps") {
  Peers peers;
  constexpr auto kBeat = static_cast<std::uint16_t>(MessageType::kHeartbeat);
  const auto flood = [&](std::uint16_t type, net::Channel channel, int most) {
    const std::uint64_t before = peers.link->counters().hasty_frames;
    for (int i = 0; i < most && peers.link->counters().hasty_frames == before; ++i) {
      net::OutFrame frame;
      frame.header.type = type;
      frame.header.epoch = 3;
      REQUIRE(peers.transports[1]->send({1}, channel, std::move(frame)).is_ok());
      peers.network.advance(peers.now += 10);
    }
    peers.network.advance(peers.now += 1'000'000);  // what is still under way arrives
    return peers.link->counters().hasty_frames - before;
  };
  CHECK(flood(kBeat, net::Channel::kControl, 200'000) > 0);
  CHECK(flood(static_cast<std::uint16_t>(MessageType::kFetchBlob), net::Channel::kBulk, 200'000) >
        0);
  CHECK(flood(static_cast<std::uint16_t>(MessageType::kStep), net::Channel::kActivations, 30'000) ==
        0);
  const std::uint64_t hasty = peers.link->counters().hasty_frames;
  CHECK(peers.say(0, net::Channel::kControl, kBeat).hasty_frames == hasty);  // the head
  CHECK(peers.say(2, net::Channel::kControl, static_cast<std::uint16_t>(MessageType::kStatusQuery))
            .hasty_frames == hasty);
}

TEST_CASE("link: a room that is attached before the sockets open hears the first frame") {
  caf::actor_system_config config;
  caf::actor_system system(config);
  std::promise<std::uint16_t> heard;
  const auto listening = [](link_user::pointer,
                            std::promise<std::uint16_t>* first) -> link_user::behavior_type {
    return {[first](const FramePtr& frame) { first->set_value(frame->header.type); },
            [](const PeerEventPtr&) {}};
  };
  const link_user room = system.spawn(listening, &heard);
  net::SimNetwork network({}, 0);
  net::TransportOptions options;
  options.identity.public_key = {1};
  options.listen = net::Endpoint{"h0", 7700};
  options.allowed.emplace_back(Peers::key_of(1), net::Role::kNode);
  std::unique_ptr<net::Transport> node;
  // The network is as fast as possible: the frame is here before open_sockets() returns.
  const auto link = Link::with_sockets(
      options,
      [&](const net::TransportOptions& with,
          net::Handlers handlers) -> Result<std::unique_ptr<net::Transport>> {
        auto opened = network.open(0, with, std::move(handlers));
        net::TransportOptions own;
        own.identity.public_key = Peers::key_of(1);
        own.incarnation = 10;
        node = network.open(1, own, {});
        node->dial({1}, *options.listen, net::Channel::kControl);
        net::OutFrame hello;
        hello.header.type = static_cast<std::uint16_t>(MessageType::kHello);
        REQUIRE(node->send({1}, net::Channel::kControl, std::move(hello)).is_ok());
        network.advance(100'000);
        return opened;
      });
  link->attach(Room::kCoordinator, room);
  CHECK(link->transport() == nullptr);
  REQUIRE(link->open_sockets().is_ok());
  CHECK(link->transport() != nullptr);
  CHECK(heard.get_future().get() == static_cast<std::uint16_t>(MessageType::kHello));
  CHECK(link->counters().unknown_frames == 0);
  link->close();
}

TEST_CASE("link: sockets that cannot be opened say why") {
  const auto link = Link::with_sockets(
      {},
      [](const net::TransportOptions&, net::Handlers) -> Result<std::unique_ptr<net::Transport>> {
        return Status(Code::kAlreadyExists, "the port is in use");
      });
  CHECK(link->open_sockets().code() == Code::kAlreadyExists);
  CHECK(link->transport() == nullptr);
}

TEST_CASE("link: frames of a type that does not exist are counted") {
  Peers peers;
  std::uint64_t unknown = 0;
  for (const std::uint16_t type : {0, 7, 999, 65535}) {
    for (std::size_t who = 0; who < kPeers; ++who) {
      const auto counters = peers.say(who, net::Channel::kControl, type);
      CHECK(counters.unknown_frames == ++unknown);
    }
  }
  CHECK(peers.link->counters().wrong_role_frames == 0);
}
