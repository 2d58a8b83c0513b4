#include <algorithm>
#include <ctime>
#include <mutex>
#include <thread>

#include <catch2/catch.hpp>

#include <troupe/runtime/log.h>
#include <troupe/tests/runtime/net/zmq/harness.h>

// Tests the transport as honest peers see it: frames, connections, roles, bounds.

using namespace troupe;
using namespace troupe::net;
using namespace troupe::net::test;

namespace {

constexpr Channel kAll[] = {Channel::kControl, Channel::kActivations, Channel::kBulk};

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

// Opens a plain TCP listener that never sends anything.
int listen_on(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(fd, 4) == 0);
  return fd;
}

}  // namespace

TEST_CASE("transport: round trips on every channel, from nothing to 1 MiB", "[transport]") {
  PeerOptions echo;
  echo.echo = true;
  Peer server(echo);
  PeerOptions client_only;
  client_only.listen = false;
  Peer client(client_only);
  server.transport->allow(client.key, Role::kNode);
  for (const Channel channel : kAll) {
    REQUIRE(client.dial(server, channel));
    for (const std::size_t size : {0u, 1u, 4096u, 65536u, 262144u, 1048576u}) {
      const bool body_only = channel == Channel::kControl;
      if (channel == Channel::kBulk && size > wire::kBulkPayloadBytesMax) continue;
      INFO("channel " << static_cast<int>(channel) << ", " << size << " bytes");
      const auto bytes = some_bytes(size);
      const std::size_t before = client.frames.size();
      REQUIRE(client.transport
                  ->send(server.key, channel,
                         body_only ? frame_of(10, bytes) : frame_of(10, some_bytes(3), bytes))
                  .is_ok());
      REQUIRE(client.wait_frames(before + 1));
      REQUIRE(server.wait_frames(before + 1));
      for (const InFrame* frame : {&server.frames.back(), &client.frames.back()}) {
        REQUIRE(frame->channel == channel);
        REQUIRE(
            same(body_only ? std::span<const std::byte>(frame->body) : frame->payload.data, bytes));
        if (!body_only && size > 0 && size < 65536) {
          REQUIRE(reinterpret_cast<std::uintptr_t>(frame->payload.data.data()) % 64 == 0);
        }
      }
      CHECK(server.frames.back().peer == client.key);
      CHECK(server.frames.back().role == Role::kNode);
      CHECK(client.frames.back().peer == server.key);
      CHECK(client.frames.back().header.type == 11);
      CHECK(client.frames.back().header.cluster == 77);
    }
  }
  const Counters counters = client.transport->counters();
  CHECK(counters.frames_in + kChannels == counters.frames_out);  // a greeting each
  CHECK(counters.activation_bytes_out == 0u + 1 + 4096 + 65536 + 262144 + 1048576);
  CHECK(counters.bulk_bytes_out == 0u + 1 + 4096 + 65536 + 262144);
}

TEST_CASE("transport: frames keep their order and outlive the transport", "[transport]") {
  std::vector<InFrame> kept;
  std::vector<std::byte> large = some_bytes(200000);
  {
    Peer server, client;
    server.transport->allow(client.key, Role::kNode);
    // These frames are sent before the handshake, and wait for it.
    client.transport->dial(server.key, server.endpoint, Channel::kActivations);
    for (std::uint16_t i = 0; i < 500; ++i) {
      REQUIRE(client.transport->send(server.key, Channel::kActivations, frame_of(i)).is_ok());
    }
    REQUIRE(client.transport->send(server.key, Channel::kActivations, frame_of(500, {}, large))
                .is_ok());
    REQUIRE(server.wait_frames(501));
    for (std::uint16_t i = 0; i <= 500; ++i) REQUIRE(server.frames[i].header.type == i);
    kept = std::move(server.frames);
  }
  CHECK(same(kept.back().payload.data, large));
}

TEST_CASE("transport: roles follow the allow-list, and revoking takes effect", "[transport]") {
  Peer server, client;
  server.transport->allow(client.key, Role::kNode);
  REQUIRE(client.dial(server, Channel::kControl));
  REQUIRE(client.transport->send(server.key, Channel::kControl, frame_of(1)).is_ok());
  REQUIRE(server.wait_frames(1));
  CHECK(server.frames[0].role == Role::kNode);
  server.transport->allow(client.key, Role::kClient);
  REQUIRE(client.transport->send(server.key, Channel::kControl, frame_of(2)).is_ok());
  REQUIRE(server.wait_frames(2));
  CHECK(server.frames[1].role == Role::kClient);

  server.transport->revoke(client.key);
  CHECK(server.transport->send(client.key, Channel::kControl, frame_of(3)).code() ==
        Code::kUnavailable);
  REQUIRE(client.transport->send(server.key, Channel::kControl, frame_of(4)).is_ok());
  for (int i = 0; i < 200 && server.transport->counters().rejected_revoked == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(server.transport->counters().rejected_revoked == 1);
  CHECK(server.frames.size() == 2);
  // The client's connection is closed, and a new one of its key is refused, for good.
  REQUIRE(client.wait_lost(2));
  CHECK(client.losses[0].why.code() == Code::kUnavailable);
  CHECK(client.losses[1].why.code() == Code::kPermissionDenied);
  CHECK(client.losses[1].why.message().find("refused our key") != std::string::npos);
  CHECK(server.transport->counters().closed_silent == 1);
  CHECK(server.transport->counters().refused_keys == 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  CHECK(client.losses.size() == 2);
  CHECK(server.transport->counters().refused_keys == 1);
  // Allowed again and dialled again, it is let in.
  server.transport->allow(client.key, Role::kNode);
  REQUIRE(client.dial(server, Channel::kControl));
  REQUIRE(client.transport->send(server.key, Channel::kControl, frame_of(5)).is_ok());
  REQUIRE(server.wait_frames(3));
}

TEST_CASE("transport: revoked and allowed again, a connection is met anew", "[transport]") {
  Peer server, client;
  server.transport->allow(client.key, Role::kNode);
  REQUIRE(client.dial(server, Channel::kControl));
  for (std::uint16_t i = 0; i < 20; ++i) {
    REQUIRE(client.transport->send(server.key, Channel::kControl, frame_of(i)).is_ok());
    REQUIRE(server.wait_frames(i + 1u));
    REQUIRE(server.transport->send(client.key, Channel::kControl, frame_of(i)).is_ok());
    REQUIRE(client.wait_frames(i + 1u));
    server.transport->revoke(client.key);
    server.transport->allow(client.key, Role::kNode);
  }
  CHECK(client.transport->counters().rejected_sequence == 0);
}

TEST_CASE("transport: another key can be shown for enrolment", "[transport]") {
  PeerOptions echo;
  echo.echo = true;
  Peer head(echo);
  PeerOptions newcomer_options;
  newcomer_options.cluster = 0;
  newcomer_options.listen = false;
  Peer newcomer(newcomer_options), other(newcomer_options);
  const KeyPair enrolment = make_key_pair();
  head.transport->allow(enrolment.public_key, Role::kEnrol);
  for (Peer* peer : {&newcomer, &other}) {
    peer->transport->dial(head.key, head.endpoint, Channel::kControl, enrolment);
    REQUIRE(peer->wait_connected());
    // The cluster is not known yet: the frame says 0.
    REQUIRE(peer->transport->send(head.key, Channel::kControl, frame_of(1)).is_ok());
    REQUIRE(peer->wait_frames(1));
    CHECK(peer->frames[0].header.cluster == 77);
    CHECK(peer->frames[0].role == Role::kHead);
  }
  REQUIRE(head.wait_frames(2));
  CHECK(head.frames[0].peer == enrolment.public_key);
  CHECK(head.frames[0].role == Role::kEnrol);
  CHECK(head.frames[0].header.cluster == 0);
  // Two processes share the key, and an answer can name the one for which it is.
  for (std::uint16_t i = 0; i < 2; ++i) {
    OutFrame answer = frame_of(static_cast<std::uint16_t>(100 + i));
    answer.to_incarnation = head.frames[i].header.incarnation;
    REQUIRE(head.transport->send(enrolment.public_key, Channel::kControl, answer).is_ok());
  }
  REQUIRE(newcomer.wait_frames(2));
  REQUIRE(other.wait_frames(2));
  CHECK(newcomer.frames[1].header.type == 100);
  CHECK(other.frames[1].header.type == 101);
  // Once enrolled it dials as itself.
  head.transport->allow(newcomer.key, Role::kNode);
  newcomer.transport->set_cluster(77);
  newcomer.transport->disconnect(head.key);
  REQUIRE(newcomer.dial(head, Channel::kControl));
  REQUIRE(newcomer.transport->send(head.key, Channel::kControl, frame_of(1)).is_ok());
  REQUIRE(head.wait_frames(3));
  CHECK(head.frames[2].peer == newcomer.key);
  // The key counts as connected while another process still shows it.
  CHECK(head.left.empty());
}

TEST_CASE("transport: frames of another cluster are dropped", "[transport]") {
  Peer server;
  PeerOptions foreign;
  foreign.cluster = 78;
  Peer client(foreign);
  PeerOptions none;
  none.cluster = 0;
  Peer unknowing(none);
  server.transport->allow(client.key, Role::kNode);
  server.transport->allow(unknowing.key, Role::kNode);
  REQUIRE(client.dial(server, Channel::kControl));
  REQUIRE(unknowing.dial(server, Channel::kControl));
  REQUIRE(client.transport->send(server.key, Channel::kControl, frame_of(1)).is_ok());
  REQUIRE(unknowing.transport->send(server.key, Channel::kControl, frame_of(1)).is_ok());
  client.transport->set_cluster(77);
  REQUIRE(client.transport->send(server.key, Channel::kControl, frame_of(2)).is_ok());
  REQUIRE(server.wait_frames(1));
  CHECK(server.frames[0].header.type == 2);
  for (int i = 0; i < 200 && server.transport->counters().rejected_cluster < 4; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  // The greeting and the first frame of each.
  CHECK(server.transport->counters().rejected_cluster == 4);
}

TEST_CASE("transport: a port in use is named, and nothing stays bound", "[transport]") {
  const Endpoint endpoint = free_endpoint();
  const int fd = listen_on(static_cast<std::uint16_t>(endpoint.port + 2));
  TransportOptions options;
  options.identity = make_key_pair();
  options.listen = endpoint;
  const auto result = make_zmq_transport(options, {});
  REQUIRE(result.code() == Code::kAlreadyExists);
  CHECK(result.message().find("127.0.0.1:" + std::to_string(endpoint.port + 2)) !=
        std::string::npos);
  ::close(fd);
  CHECK(ports_free(endpoint.port));
  CHECK(make_zmq_transport(options, {}).is_ok());
  CHECK(ports_free(endpoint.port));
  options.listen = Endpoint{"127.0.0.1", 65534};
  CHECK(make_zmq_transport(options, {}).code() == Code::kInvalidArgument);
  options.listen = Endpoint{"192.0.2.1", endpoint.port};
  CHECK(make_zmq_transport(options, {}).code() == Code::kUnavailable);
}

TEST_CASE("transport: names are resolved, the second address is tried", "[transport]") {
  Peer server, client;
  server.transport->allow(client.key, Role::kNode);
  client.transport->dial(server.key, {"localhost", server.endpoint.port}, Channel::kControl);
  CHECK(client.wait_connected());
  client.transport->dial(server.key, {"no-such-host.invalid", 7700}, Channel::kBulk);
  REQUIRE(client.wait([&] { return !client.losses.empty(); }, 20000));
  CHECK(client.losses[0].why.code() == Code::kUnavailable);
}

TEST_CASE("transport: nobody there, then somebody: the dial goes on", "[transport]") {
  const KeyPair identity = make_key_pair();
  PublicKey client_key{};
  Peer client;
  client_key = client.key;
  const Endpoint endpoint = free_endpoint();
  client.transport->dial(identity.public_key, endpoint, Channel::kControl);
  REQUIRE(client.wait_lost(2));
  CHECK(client.losses[0].why.code() == Code::kUnavailable);
  CHECK(client.losses[0].why.message().find("nobody listens at " + to_string(endpoint)) !=
        std::string::npos);
  CHECK(client.transport->send(identity.public_key, Channel::kControl, frame_of(1)).code() ==
        Code::kUnavailable);
  TransportOptions options;
  options.identity = identity;
  options.listen = endpoint;
  auto server = make_zmq_transport(options, {});
  REQUIRE(server.is_ok());
  (*server)->allow(client_key, Role::kNode);
  REQUIRE(client.wait_connected());
  CHECK(client.transport->send(identity.public_key, Channel::kControl, frame_of(1)).is_ok());
  // The peer leaves: the loss is reported at once, and sending fails until it is back.
  const auto closing = std::chrono::steady_clock::now();
  const std::size_t before = client.losses.size();
  server->reset();
  REQUIRE(client.wait_lost(before + 1));
  CHECK(std::chrono::steady_clock::now() - closing < std::chrono::milliseconds(300));
  CHECK(client.losses[before].why.message().find("was lost") != std::string::npos);
  server = make_zmq_transport(options, {});
  REQUIRE(server.is_ok());
  (*server)->allow(client_key, Role::kNode);
  CHECK(client.wait_connected(2));
}

// A listener accepts and sends nothing: the handshake hangs for its whole time.
TEST_CASE("transport: waiting for a handshake costs no CPU", "[transport]") {
  const int silent = ::socket(AF_INET, SOCK_STREAM, 0);
  const Endpoint endpoint = free_endpoint();
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(silent, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::listen(silent, 8) == 0);
  const auto cpu_ms = [] { return std::clock() * 1000 / CLOCKS_PER_SEC; };
  PeerOptions options;
  options.listen = false;
  Peer client(options);
  const auto before = cpu_ms();
  client.transport->dial(make_key_pair().public_key, endpoint, Channel::kControl);
  REQUIRE(client.wait_lost());
  CHECK(cpu_ms() - before < options.handshake_timeout_ms / 2);
  ::close(silent);
}

// Events of a socket that was closed are not reported, and must not hold anything up.
TEST_CASE("transport: who dials again does not wait for the next attempt", "[transport]") {
  const KeyPair identity = make_key_pair();
  Peer client;
  const Endpoint endpoint = free_endpoint();
  client.transport->dial(identity.public_key, endpoint, Channel::kControl);
  REQUIRE(client.wait_lost(6));  // the pause before the next attempt is 1.6 s
  TransportOptions options;
  options.identity = identity;
  options.listen = endpoint;
  auto server = make_zmq_transport(options, {});
  REQUIRE(server.is_ok());
  (*server)->allow(client.key, Role::kNode);
  const auto began = std::chrono::steady_clock::now();
  client.transport->dial(identity.public_key, endpoint, Channel::kControl);
  REQUIRE(client.wait_connected());
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::milliseconds(1200));
}

TEST_CASE("transport: dials that are given up at any moment hold up no other", "[transport]") {
  Peer server, client;
  server.transport->allow(client.key, Role::kNode);
  for (unsigned i = 0; i < 300; ++i) {
    const PublicKey nobody = make_key_pair().public_key;
    // Either the handshake fails, or there is no answer at all.
    const Endpoint endpoint = i % 2 == 0 ? server.endpoint : Endpoint{"127.0.0.1", 1};
    client.transport->dial(nobody, endpoint, Channel::kControl);
    std::this_thread::sleep_for(std::chrono::microseconds(i * 37 % 3000));
    client.transport->disconnect(nobody);
  }
  CHECK(client.dial(server, Channel::kControl));
}

TEST_CASE("transport: who listens with another key is not spoken to", "[transport]") {
  Peer server, client;
  server.transport->allow(client.key, Role::kNode);
  const PublicKey wrong = make_key_pair().public_key;
  client.transport->dial(wrong, server.endpoint, Channel::kControl);
  // The frame waits for the handshake, or on a busy machine comes after the first attempt has
  // failed.
  const Status sent = client.transport->send(wrong, Channel::kControl, frame_of(1));
  CHECK((sent.is_ok() || sent.code() == Code::kUnavailable));
  REQUIRE(client.wait_lost(3));
  CHECK(client.losses[0].why.message().find("does not prove to own the key " + to_z85(wrong)) !=
        std::string::npos);
  CHECK(client.losses[0].why.code() == Code::kUnavailable);
  CHECK(client.losses[2].why.code() == Code::kPermissionDenied);
  CHECK(server.frames.empty());
  CHECK(client.connections.empty());
}

TEST_CASE("transport: a full queue is an error, not memory", "[transport]") {
  PeerOptions small;
  small.queue_frames = 16;
  small.listen = false;
  small.handshake_timeout_ms = 3000;  // the queue must be full by then, on a busy machine too
  Peer client(small);
  Peer server;
  server.transport->allow(client.key, Role::kNode);
  // A listener there sends nothing: frames wait for the handshake.
  const PublicKey mute = make_key_pair().public_key;
  const Endpoint endpoint = free_endpoint();
  const int fd = listen_on(static_cast<std::uint16_t>(endpoint.port + 2));
  client.transport->dial(mute, endpoint, Channel::kBulk);
  for (int i = 0; i < 16; ++i) {
    REQUIRE(
        client.transport->send(mute, Channel::kBulk, frame_of(1, {}, some_bytes(1000))).is_ok());
  }
  CHECK(client.transport->send(mute, Channel::kBulk, frame_of(1)).code() ==
        Code::kResourceExhausted);
  CHECK(client.transport->counters().send_overflow == 1);
  // The frames are lost with the attempt.
  REQUIRE(client.wait_lost(1, 15000));
  CHECK(client.losses[0].why.code() == Code::kUnavailable);
  CHECK(client.losses[0].why.message().find("prove to own the key") != std::string::npos);
  CHECK(client.transport->send(mute, Channel::kBulk, frame_of(1)).code() == Code::kUnavailable);
  ::close(fd);
  // A frame beyond the channel's bound is the caller's mistake.
  CHECK(client.transport
            ->send(server.key, Channel::kBulk,
                   frame_of(1, {}, some_bytes(wire::kBulkPayloadBytesMax + 1)))
            .code() == Code::kInvalidArgument);
  CHECK(client.transport->send(server.key, Channel::kControl, frame_of(1)).code() ==
        Code::kUnavailable);
}

TEST_CASE("transport: a receiver that does not read holds up its own channel only", "[transport]") {
  PeerOptions small;
  small.queue_frames = 32;
  small.listen = false;
  Peer client(small);
  std::atomic<bool> open{false};
  std::atomic<int> bulk{0}, control{0};
  TransportOptions options;
  options.identity = make_key_pair();
  options.listen = free_endpoint();
  Handlers handlers;
  handlers.on_frame = [&](InFrame frame) {
    while (!open && frame.channel == Channel::kBulk) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ++(frame.channel == Channel::kBulk ? bulk : control);
  };
  auto server = make_zmq_transport(options, handlers);
  REQUIRE(server.is_ok());
  (*server)->allow(client.key, Role::kNode);
  const PublicKey key = options.identity.public_key;
  for (const Channel channel : {Channel::kBulk, Channel::kControl}) {
    client.transport->dial(key, *options.listen, channel);
  }
  REQUIRE(client.wait_connected(2));
  // ZeroMQ and TCP hold some frames, then our queue fills, and then the sender gets an error.
  int sent = 0;
  Status last;
  for (int i = 0; i < 1000 && last.is_ok(); ++i) {
    last = client.transport->send(key, Channel::kBulk, frame_of(1, {}, some_bytes(262144)));
    sent += last.is_ok();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(last.code() == Code::kResourceExhausted);
  CHECK(client.transport->send(key, Channel::kControl, frame_of(1)).is_ok());
  open = true;
  for (int i = 0; i < 500 && bulk < sent; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(bulk == sent);  // what was accepted arrives
  CHECK(control == 1);
}

TEST_CASE("transport: another protocol version is told so in words, by both sides", "[transport]") {
  std::mutex mutex;
  std::vector<std::string> said;
  set_log_sink(
      [&](LogLevel, std::string_view text) {
        std::lock_guard lock(mutex);
        said.emplace_back(text);
      },
      LogLevel::kWarning);
  const std::string own = std::to_string(wire::kProtocolVersion);
  for (const std::uint16_t theirs : {wire::kProtocolVersion + 1, 65535}) {
    PeerOptions newer;
    newer.version = theirs;
    newer.listen = false;
    Peer server, client(newer);
    server.transport->allow(client.key, Role::kNode);
    REQUIRE(client.dial(server, Channel::kControl));
    // On a busy machine the connection may be refused, and gone, before this is sent.
    const Status sent = client.transport->send(server.key, Channel::kControl, frame_of(8));
    CHECK((sent.is_ok() || sent.code() == Code::kUnavailable));
    REQUIRE(client.wait([&] { return !client.losses.empty(); }));
    const Status& why = client.losses[0].why;
    const std::string number = std::to_string(theirs);
    CHECK(why.code() == Code::kFailedPrecondition);
    CHECK(why.message().find("protocol version " + own + ", this program version " + number) !=
          std::string::npos);
    CHECK(why.message().find("the same release of Troupe on every machine") != std::string::npos);
    CHECK(server.frames.empty());
    CHECK(server.transport->counters().rejected_version >= 1);
    // The failure is final: nothing is tried again.
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    CHECK(client.losses.size() == 1);
    CHECK(client.connections.size() == 1);
    std::lock_guard lock(mutex);
    CHECK(std::any_of(said.begin(), said.end(), [&](const std::string& line) {
      return line.find("protocol version " + number + ", this program version " + own) !=
             std::string::npos;
    }));
  }
  set_log_sink({});
}

TEST_CASE("transport: a key that is allowed from the start is let in at the first knock",
          "[transport]") {
  PeerOptions known;
  known.identity = make_key_pair();
  known.listen = false;
  Peer client(known);
  PeerOptions ours;
  ours.allowed = {{known.identity->public_key, Role::kNode}};
  Peer server(ours);
  REQUIRE(client.dial(server, Channel::kControl));
  REQUIRE(client.transport->send(server.key, Channel::kControl, frame_of(8)).is_ok());
  REQUIRE(server.wait_frames(1));
  CHECK(server.frames[0].role == Role::kNode);
  CHECK(server.transport->counters().refused_keys == 0);
}
