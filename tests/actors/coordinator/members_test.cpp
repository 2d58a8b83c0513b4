#include <algorithm>
#include <chrono>
#include <future>
#include <mutex>
#include <string>
#include <thread>

#include <catch2/catch.hpp>

#include <troupe/actors/messages/enrolment.h>
#include <troupe/actors/messages/types.h>
#include <troupe/actors/troupe.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/numerics/arithmetic_version.h>
#include <troupe/runtime/wire/codec.h>
#include <troupe/tests/actors/coordinator/bare_head.h>
#include <troupe/tests/actors/coordinator/real_head.h>
#include <troupe/tests/actors/temporary_home.h>
#include <troupe/tests/runtime/net/zmq/harness.h>

// A real head, and a node of the test that disobeys orders.

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;
using namespace std::chrono_literals;
using net::Channel;

namespace {

// Returns the token of a line TOKEN@HOST:PORT.
net::Token token_of(const std::string& line) {
  return *net::parse_token(line.substr(0, line.find('@')));
}

// A real head in a home of its own.
struct Head {
  Head() { REQUIRE(daemon); }
  net::Token join_token() const { return token_of(daemon->join_address()); }
  // Connects as the user who runs it.
  Result<Cluster> connect() const {
    return Cluster::connect({home.path, net::to_string(at), 5000});
  }

  TemporaryHome home;
  net::Endpoint at;
  Result<Daemon> daemon = start_head(home, &at);
};

// Writes its own frames: it enrols, joins and sends heartbeats, whatever the answers are.
struct Stubborn : net::test::Peer {
  Stubborn(const net::Token& with, const net::Endpoint& at,
           std::uint16_t version = wire::kProtocolVersion)
      : Stubborn(with, at, options_of(with, version)) {}
  Stubborn(const net::Token& with, const net::Endpoint& at, const net::test::PeerOptions& options)
      : Peer(options),
        token(with),
        head(at),
        keys(*options.identity),
        incarnation(options.incarnation) {}

  static net::test::PeerOptions options_of(const net::Token& token, std::uint16_t version) {
    net::test::PeerOptions options;
    options.identity = net::make_key_pair();
    options.incarnation = net::random_u64();
    options.cluster = token.cluster;
    options.listen = false;
    options.version = version;
    return options;
  }
  template <class Message>
  void say(MessageType type, const Message& message) {
    (void)transport->send(token.head, Channel::kControl, frame_of(type, message));
  }
  // Waits for a frame; returns false if none of this type comes within five seconds.
  bool hear(MessageType type) {
    return wait([&] { return count(type) > 0; });
  }
  std::size_t count(MessageType type) const {
    return static_cast<std::size_t>(
        std::count_if(frames.begin(), frames.end(), [&](const net::InFrame& frame) {
          return frame.header.type == static_cast<std::uint16_t>(type);
        }));
  }
  void enrol() {
    transport->dial(token.head, head, Channel::kControl, net::enrolment_key_pair(token));
    REQUIRE(wait_connected(1));
    const EnrolmentPlace place{token.cluster, net::enrolment_key_pair(token).public_key,
                               incarnation};
    say(MessageType::kEnrol,
        make_enrol(place, token.head, keys, keys, net::Role::kNode, "stubborn"));
  }
  void join() {
    greet();
    REQUIRE(hear(MessageType::kWelcome));
  }
  void enter() {
    enrol();
    REQUIRE(hear(MessageType::kEnrolled));
    join();
  }
  void greet(std::uint32_t arithmetic = kArithmeticVersion) {
    transport->disconnect(token.head);
    transport->dial(token.head, head, Channel::kControl);
    REQUIRE(wait_connected(2));
    Hello hello;
    hello.role = static_cast<std::uint8_t>(net::Role::kNode);
    hello.name = "stubborn";
    hello.greeting = 1;
    hello.arithmetic = arithmetic;
    say(MessageType::kHello, hello);
  }
  template <class Message>
  Message heard(MessageType type) {
    REQUIRE(hear(type));
    std::lock_guard lock(mutex);
    const auto found = std::find_if(frames.begin(), frames.end(), [&](const net::InFrame& frame) {
      return frame.header.type == static_cast<std::uint16_t>(type);
    });
    const auto message = wire::decode<Message>(std::span<const std::byte>(found->body));
    REQUIRE(message);
    return *message;
  }

  net::Token token;
  net::Endpoint head;
  net::KeyPair keys;
  std::uint64_t incarnation;
};

}  // namespace

TEST_CASE(
    "membership: a head welcomes a node as often as it asks, and takes stages back that nobody "
    "wants",
    "[membership]") {
  Head head;
  Stubborn node(head.join_token(), head.at);
  node.enter();
  for (std::size_t greetings = 2; greetings <= 4; ++greetings) {
    node.say(MessageType::kHello, Hello{1, "stubborn", "", 0, 1, 1, "", "", 1});
    REQUIRE(node.wait([&] { return node.count(MessageType::kWelcome) == greetings; }));
  }
  CHECK(node.count(MessageType::kRefused) == 0);
  // Every heartbeat says what the node holds, and the order to drop it is repeated, too.
  node.say(MessageType::kHeartbeat, Heartbeat{1, {}, {77}});
  REQUIRE(node.wait([&] { return node.count(MessageType::kUnloadStage) == 1; }));
  node.say(MessageType::kHeartbeat, Heartbeat{2, {}, {77}});
  REQUIRE(node.wait([&] { return node.count(MessageType::kUnloadStage) == 2; }));
  node.say(MessageType::kHeartbeat, Heartbeat{3, {}, {}});
  REQUIRE(node.wait([&] { return node.count(MessageType::kHeartbeatAck) == 3; }));
  CHECK(node.count(MessageType::kUnloadStage) == 2);
}

TEST_CASE("membership: within a second of its revocation nothing that a node says is heard",
          "[membership]") {
  Head head;
  Stubborn node(head.join_token(), head.at);
  node.enter();
  node.say(MessageType::kHeartbeat, Heartbeat{1, {}, {}});
  REQUIRE(node.hear(MessageType::kHeartbeatAck));

  auto cluster = head.connect();
  REQUIRE(cluster);
  const auto revoked = cluster->revoke_key("stubborn");
  INFO(revoked.message());
  REQUIRE(revoked);
  const auto since = std::chrono::steady_clock::now();
  REQUIRE(node.hear(MessageType::kRefused));
  std::uint64_t beats = 1;
  while (std::chrono::steady_clock::now() < since + 1s) {
    node.say(MessageType::kHeartbeat, Heartbeat{++beats, {}, {}});
    std::this_thread::sleep_for(20ms);
  }
  std::size_t heard = 0;
  node.wait([&] { return heard = node.frames.size(), true; });
  // From here on the node gets no acknowledgement, no refusal and no welcome.
  for (int i = 0; i < 25; ++i) {
    node.say(MessageType::kHeartbeat, Heartbeat{++beats, {}, {}});
    node.say(MessageType::kHello, Hello{1, "stubborn", "", 0, 1, 1, "", "", 2});
    std::this_thread::sleep_for(20ms);
  }
  node.wait([&] {
    CHECK(node.frames.size() == heard);
    return true;
  });
  const auto status = cluster->status();
  REQUIRE(status);
  CHECK(status->counters.rejected_revoked > 20);
  for (const NodeStatus& each : status->nodes) {
    if (each.name == "stubborn") CHECK(each.state == "left");
  }
  // Neither a new connection with its key nor the token that once let it in is accepted.
  node.transport->disconnect(node.token.head);
  node.wait([&] { return node.losses.clear(), true; });
  node.transport->dial(node.token.head, head.at, Channel::kControl);
  REQUIRE(node.wait([&] {
    return std::any_of(node.losses.begin(), node.losses.end(),
                       [](const auto& loss) { return loss.why.code() == Code::kPermissionDenied; });
  }));
  node.transport->disconnect(node.token.head);
  node.wait([&] { return node.frames.clear(), node.connections.clear(), true; });
  node.enrol();
  REQUIRE(node.hear(MessageType::kRefused));
  node.wait([&] {
    CHECK(node.count(MessageType::kEnrolled) == 0);
    return true;
  });
}

namespace {

constexpr std::uint16_t kOther = wire::kProtocolVersion + 1;

// Checks what both sides report when two versions meet, as seen from the second one.
std::string versions(std::uint16_t theirs, std::uint16_t ours) {
  return "protocol version " + std::to_string(theirs) + ", this program version " +
         std::to_string(ours);
}

}  // namespace

TEST_CASE("membership: a newcomer of another protocol version is told so", "[membership]") {
  Head head;
  Stubborn node(head.join_token(), head.at, kOther);
  node.enrol();
  REQUIRE(node.wait_lost(1));
  CHECK(node.losses[0].why.code() == Code::kFailedPrecondition);
  CHECK(node.losses[0].why.message().find(versions(wire::kProtocolVersion, kOther)) !=
        std::string::npos);
}

TEST_CASE("membership: a node and a client that find a head of another version say so",
          "[membership]") {
  BareHead head(kOther);
  TemporaryHome home;
  const auto began = std::chrono::steady_clock::now();
  const auto joined = Daemon::start(head.joining(home));
  REQUIRE_FALSE(joined.is_ok());
  CHECK(joined.code() == Code::kFailedPrecondition);
  CHECK(joined.message().find(versions(kOther, wire::kProtocolVersion)) != std::string::npos);
  CHECK(std::chrono::steady_clock::now() - began < 5s);
  const auto client = Cluster::connect({home.path, head.join, 5000});
  REQUIRE_FALSE(client.is_ok());
  CHECK(client.message().find(versions(kOther, wire::kProtocolVersion)) != std::string::npos);
  CHECK(client.message().find("the same release") != std::string::npos);
  CHECK(head.transport->counters().rejected_version >= 2);
}

namespace {

// Checks what processes of two arithmetic versions report at a join.
std::string arithmetic_versions(std::uint32_t node, std::uint32_t cluster) {
  return "arithmetic version " + std::to_string(node) + ", its cluster by version " +
         std::to_string(cluster);
}

// Records what this process logs while the object exists.
struct Log {
  Log() {
    set_log_sink([this](LogLevel, std::string_view line) {
      std::lock_guard lock(mutex);
      text += std::string(line) + "\n";
    });
  }
  ~Log() { set_log_sink({}); }
  bool says(const std::string& what) {
    std::lock_guard lock(mutex);
    return text.find(what) != std::string::npos;
  }
  std::mutex mutex;
  std::string text;
};

}  // namespace

TEST_CASE("membership: a head refuses a node of another arithmetic version and logs it",
          "[membership]") {
  for (const std::uint32_t theirs : {kArithmeticVersion - 1, kArithmeticVersion + 1}) {
    Log log;
    Head head;
    Stubborn node(head.join_token(), head.at);
    node.enrol();
    REQUIRE(node.hear(MessageType::kEnrolled));
    node.greet(theirs);
    const auto refused = node.heard<Refused>(MessageType::kRefused);
    CHECK_FALSE(refused.rejoin);
    CHECK(refused.outcome.status().code() == Code::kFailedPrecondition);
    const std::string versions = arithmetic_versions(theirs, kArithmeticVersion);
    CHECK(refused.outcome.text.find(versions) != std::string::npos);
    CHECK(log.says("refused the node 'stubborn': "));
    CHECK(log.says(versions));
    CHECK(node.count(MessageType::kWelcome) == 0);
    auto cluster = head.connect();
    REQUIRE(cluster);
    const auto status = cluster->status();
    REQUIRE(status);
    for (const NodeStatus& each : status->nodes) CHECK(each.name != "stubborn");
  }
}

TEST_CASE("membership: a node that is refused for its arithmetic version says so and ends",
          "[membership]") {
  BareHead head;  // of another release, but of this protocol
  TemporaryHome home;
  const DaemonOptions node = head.joining(home);
  auto starting = std::async(std::launch::async, [&] { return Daemon::start(node); });
  const auto next = [&](MessageType type) {
    const auto is = [&](const net::InFrame& frame) {
      return frame.header.type == static_cast<std::uint16_t>(type);
    };
    REQUIRE(head.wait([&] { return std::any_of(head.frames.begin(), head.frames.end(), is); }));
    std::lock_guard lock(head.mutex);
    return *std::find_if(head.frames.begin(), head.frames.end(), is);
  };
  const net::InFrame enrolling = next(MessageType::kEnrol);
  const auto enrol = wire::decode<Enrol>(std::span<const std::byte>(enrolling.body));
  REQUIRE(enrol);
  head.transport->allow(enrol->key, net::Role::kNode);
  (void)head.transport->send(enrolling.peer, Channel::kControl,
                             frame_of(MessageType::kEnrolled, Enrolled{enrol->key, 77, "other"}));
  const net::InFrame greeting = next(MessageType::kHello);
  const auto hello = wire::decode<Hello>(std::span<const std::byte>(greeting.body));
  REQUIRE(hello);
  CHECK(hello->arithmetic == kArithmeticVersion);
  const std::string versions = arithmetic_versions(kArithmeticVersion, kArithmeticVersion + 1);
  const Refused refused{Status(Code::kFailedPrecondition, "this node computes by " + versions),
                        false};
  (void)head.transport->send(greeting.peer, Channel::kControl,
                             frame_of(MessageType::kRefused, refused));
  REQUIRE(starting.wait_for(5s) == std::future_status::ready);
  const auto started = starting.get();
  REQUIRE_FALSE(started.is_ok());
  CHECK(started.code() == Code::kFailedPrecondition);
  CHECK(started.message().find(versions) != std::string::npos);
}

TEST_CASE("membership: a stranger cannot make another key a client", "[membership]") {
  Head head;
  auto cluster = head.connect();
  REQUIRE(cluster);
  Stubborn node(head.join_token(), head.at);
  node.enter();
  // An attacker with a token for clients names the node's key, whose secret half it lacks.
  const auto made = cluster->new_token({"user", 5, 0});
  REQUIRE(made);
  Stubborn thief(token_of(made->token), head.at);
  thief.transport->dial(thief.token.head, head.at, Channel::kControl,
                        net::enrolment_key_pair(thief.token));
  REQUIRE(thief.wait_connected(1));
  const EnrolmentPlace place{thief.token.cluster, net::enrolment_key_pair(thief.token).public_key,
                             thief.incarnation};
  const net::KeyPair claimed{node.key, thief.keys.secret_key};
  thief.say(MessageType::kEnrol,
            make_enrol(place, thief.token.head, claimed, thief.keys, net::Role::kClient, "thief"));
  REQUIRE(thief.hear(MessageType::kRefused));
  // The node is still a member.
  node.say(MessageType::kHeartbeat, Heartbeat{1, {}});
  CHECK(node.hear(MessageType::kHeartbeatAck));
}

TEST_CASE("membership: a client sees its own jobs, and revoking it ends it", "[membership]") {
  Head head;
  TemporaryHome mine, others;
  auto admin = head.connect();
  REQUIRE(admin);
  const auto token = [&](const std::string& role) { return admin->new_token({role, 2, 0})->token; };
  const std::string users = token("user");
  auto me = Cluster::connect({mine.path, users, 5000});
  auto other = Cluster::connect({others.path, users, 5000});
  INFO(me.message() << other.message());
  REQUIRE((me && other));
  JobRequest job;
  job.id = "mine";
  job.kind = "nobody maps it";
  job.spec = "{}";
  job.shards = {"x"};
  REQUIRE(me->submit(job));
  CHECK(me->jobs()->size() == 1);
  CHECK(other->jobs()->empty());
  CHECK(other->job("mine").code() == Code::kNotFound);
  CHECK(other->cancel("mine").code() == Code::kNotFound);
  CHECK(admin->jobs()->size() == 1);
  CHECK(me->unload("x", true).code() == Code::kPermissionDenied);
  CHECK(me->keys().code() == Code::kPermissionDenied);
  // The client's identity lets it enrol now: it comes back although the token is used up.
  auto again = Cluster::connect({mine.path, users, 5000});
  REQUIRE(again);
  CHECK(again->job("mine"));
  const auto keys = admin->keys();
  REQUIRE(keys);
  std::vector<std::string> ids;
  for (const MemberStatus& member : keys->members) {
    if (member.role == "user") ids.push_back(member.id);
  }
  REQUIRE(ids.size() == 2);
  for (const std::string& id : ids) REQUIRE(admin->revoke_key(id));
  std::this_thread::sleep_for(1s);
  CHECK_FALSE(again->status());
  CHECK(Cluster::connect({mine.path, users, 5000}).code() == Code::kPermissionDenied);
  CHECK(admin->job("mine"));
}
