#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>
#include <sys/resource.h>
#include <sys/wait.h>

#include <troupe/tests/runtime/net/zmq/child.h>
#include <troupe/tests/runtime/net/zmq/raw_client.h>

// Tests strangers, liars and the dead: garbage on the ports, wrong and unlisted keys, silent
// connections, damaged and repeated frames of a peer that may connect, and processes that are
// killed.

using namespace troupe;
using namespace troupe::net;
using namespace troupe::net::test;

TEST_CASE("hostile: garbage, no keys and silence at every port", "[hostile]") {
  Peer server;
  const int port = server.endpoint.port;
  std::vector<int> silent;
  for (int channel = 0; channel < kChannels; ++channel) {
    for (int i = 0; i < 40; ++i) {
      const int fd = tcp_connect(port + channel);
      REQUIRE(fd >= 0);
      const auto garbage = some_bytes(1 + static_cast<std::size_t>(i) * 97, 11u + i);
      if (i % 2 == 0) (void)!::send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL);
      // The greeting of ZMTP 3, to get past the first check, and then garbage.
      if (i % 4 == 1) {
        std::string greeting("\xFF\0\0\0\0\0\0\0\1\x7F\3\1CURVE", 17);
        greeting.resize(64, '\0');
        greeting += std::string("\4\x26\5READYgarbage garbage garbage garbage", 40);
        (void)!::send(fd, greeting.data(), greeting.size(), MSG_NOSIGNAL);
      }
      silent.push_back(fd);
    }
    RawClient plain;
    plain.connect(port + channel);
    plain.send(raw_frame(1));
    RawClient wrong_server_key;
    wrong_server_key.use_keys(make_key_pair(), make_key_pair().public_key);
    wrong_server_key.connect(port + channel);
    wrong_server_key.send(raw_frame(1));
    RawClient unlisted;
    unlisted.use_keys(make_key_pair(), server.key);
    unlisted.connect(port + channel);
    unlisted.send(raw_frame(1));
    REQUIRE(counted(server, &Counters::refused_keys, static_cast<std::uint64_t>(channel) + 1));
  }
  check_still_serves(server);
  CHECK(server.frames.size() == 3);
  CHECK(server.transport->counters().refused_keys == 3);
  CHECK(server.transport->counters().rejected_header == 0);
  for (const int fd : silent) ::close(fd);
}

TEST_CASE("hostile: damaged frames of a listed key are dropped and counted", "[hostile]") {
  Peer server;
  ListedClient raw(server);
  raw.connect(server.endpoint.port + 1);
  std::uint64_t sequence = 0, header_errors = 0, checksum_errors = 0;
  raw.send(raw_frame(++sequence));
  REQUIRE(server.wait_frames(1));
  // Flip one bit in every byte of the header, and some in body and payload.
  for (std::size_t i = 0; i < wire::kHeaderBytes; ++i) {
    RawParts parts = raw_frame(++sequence);
    parts[0][i] ^= std::byte{0x10};
    raw.send(parts);
  }
  for (std::size_t part = 1; part < 3; ++part) {
    RawParts parts = raw_frame(++sequence);
    parts[part][7] ^= std::byte{1};
    raw.send(parts);
  }
  const auto dropped = [&] {
    const Counters counters = server.transport->counters();
    return counters.rejected_header + counters.rejected_checksum + counters.rejected_version;
  };
  for (int i = 0; i < 300 && dropped() < 82; ++i) pause_ms(10);
  CHECK(dropped() == 82);
  CHECK(server.transport->counters().rejected_version == 2);  // both bytes of the version
  header_errors = server.transport->counters().rejected_header;
  checksum_errors = server.transport->counters().rejected_checksum;
  CHECK(header_errors > 0);
  CHECK(checksum_errors > 0);

  // Send too many parts, too few bytes, missing parts, no header at all, and wrong incarnations.
  RawParts parts = raw_frame(++sequence);
  parts.push_back(some_bytes(5));
  raw.send(parts);
  raw.send({some_bytes(79)});
  raw.send({{}});
  raw.send(raw_frame(++sequence, 6));
  raw.send(raw_frame(++sequence, 0));
  REQUIRE(counted(server, &Counters::rejected_header, header_errors + 5));
  parts = raw_frame(++sequence);
  parts.pop_back();
  raw.send(parts);
  REQUIRE(counted(server, &Counters::rejected_checksum, checksum_errors + 1));
  CHECK(server.frames.size() == 1);
  raw.send(raw_frame(++sequence));
  REQUIRE(server.wait_frames(2));
  check_still_serves(server);
}

TEST_CASE("hostile: a repeated sequence number is dropped, on any connection", "[hostile]") {
  Peer server;
  ListedClient first(server);
  RawClient second, third;
  for (RawClient* raw : {&second, &third}) raw->use_keys(first.keys, server.key);
  for (RawClient* raw : {static_cast<RawClient*>(&first), &second}) {
    raw->connect(server.endpoint.port);
  }
  first.send(raw_frame(1));
  first.send(raw_frame(2));
  first.send(raw_frame(2));
  first.send(raw_frame(0));
  REQUIRE(server.wait_frames(2));
  second.send(raw_frame(1));
  second.send(raw_frame(3));
  REQUIRE(server.wait_frames(3));
  CHECK(server.transport->counters().rejected_sequence == 3);
  CHECK(server.frames[2].header.sequence == 3);
  // Another process of the same key counts for itself.
  third.connect(server.endpoint.port);
  third.send(raw_frame(1, 6));
  REQUIRE(server.wait_frames(4));
}

TEST_CASE("hostile: parts over the bound and ids of one's own choosing", "[hostile]") {
  Peer server;
  ListedClient large(server), named(server);
  large.connect(server.endpoint.port + 2);
  large.send(raw_frame(1, 5, {}, some_bytes(2 << 20)));  // ZeroMQ cuts the connection
  named.name("head");
  named.connect(server.endpoint.port);
  named.send(raw_frame(1));
  REQUIRE(counted(server, &Counters::rejected_header, 1));
  check_still_serves(server);
  CHECK(server.frames.size() == 3);
}

namespace {

// Returns the numbers from which the ROUTERs of a process that never seeds rand() count
// connections.
std::vector<std::uint32_t> unseeded_starts(std::size_t count) {
  random_data data{};
  char state[128];
  ::initstate_r(1, state, sizeof state, &data);
  std::vector<std::uint32_t> starts;
  for (std::size_t i = 0; i < count; ++i) {
    std::int32_t low = 0, high = 0;
    ::random_r(&data, &low);
    ::random_r(&data, &high);
    starts.push_back(static_cast<std::uint32_t>(high) << 31 | static_cast<std::uint32_t>(low));
  }
  return starts;
}

// Returns a routing id like those that a ROUTER makes.
std::string router_id(std::uint32_t number) {
  std::string id(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) id += static_cast<char>(number >> shift & 255);
  return id;
}

}  // namespace

// The child listens on TROUPE_CHILD_PORT + 3 until it is killed.
TEST_CASE("hostile child: listens", "[.][hostile-child]") {
  const auto orders = ChildOrders::read();
  REQUIRE(orders.has_value());
  TransportOptions options;
  options.identity = orders->identity;
  options.cluster = 77;
  options.listen = Endpoint{"127.0.0.1", static_cast<std::uint16_t>(orders->port + 3)};
  options.allowed = {{orders->server, Role::kNode}};
  auto transport = make_zmq_transport(options, {});
  REQUIRE(transport.is_ok());
  pause_ms(20000);
}

TEST_CASE("hostile: naming the routing ids that come next aborts nobody", "[hostile]") {
  PeerOptions options;
  options.identity = make_key_pair();
  Peer client(options);
  const std::string seed = fresh_seed();
  const pid_t pid = start_child("hostile child: listens", client.key, client.endpoint.port, seed);
  const PublicKey server = child_identity(seed).public_key;
  const int port = client.endpoint.port + 3;
  client.transport->dial(server, {"127.0.0.1", static_cast<std::uint16_t>(port)},
                         Channel::kControl);
  REQUIRE(client.wait_connected(1, 8000));
  std::vector<std::unique_ptr<RawClient>> liars;
  const auto connect = [&](const std::string& id) {
    liars.push_back(std::make_unique<RawClient>());
    liars.back()->use_keys(*options.identity, server);
    if (!id.empty()) liars.back()->name(id);
    liars.back()->connect(port);
  };
  for (const std::uint32_t start : unseeded_starts(6)) connect(router_id(start + 8));
  pause_ms(300);
  for (int i = 0; i < 16; ++i) connect("");
  pause_ms(500);
  CHECK(end_child(pid));
}

TEST_CASE("hostile: an id as the ROUTER makes them is told from one of its own", "[hostile]") {
  Peer server;
  ListedClient named(server);
  named.name(router_id(static_cast<std::uint32_t>(random_u64())));
  named.connect(server.endpoint.port);
  named.send(raw_frame(1));
  REQUIRE(counted(server, &Counters::rejected_header, 1));
  check_still_serves(server);
  CHECK(server.frames.size() == 3);
}

TEST_CASE("hostile: a connection that proves its key and is silent is closed", "[hostile]") {
  Peer server;
  ListedClient silent(server);
  silent.connect(server.endpoint.port);
  // Our own transport greets: it may stay although nothing is sent over it.
  PeerOptions options;
  options.listen = false;
  Peer patient(options);
  server.transport->allow(patient.key, Role::kNode);
  REQUIRE(patient.dial(server, Channel::kActivations));
  const auto closed = [&] { return server.transport->counters().closed_silent; };
  for (int i = 0; i < 500 && closed() == 0; ++i) pause_ms(10);
  CHECK(closed() == 1);
  pause_ms(500);
  CHECK(patient.losses.empty());
  CHECK(server.frames.empty());
  REQUIRE(patient.transport->send(server.key, Channel::kActivations, frame_of(1)).is_ok());
  CHECK(server.wait_frames(1));
}

TEST_CASE("hostile: a key that opens connections too fast waits and is not refused", "[hostile]") {
  Peer server;
  const KeyPair keys = make_key_pair();
  server.transport->allow(keys.public_key, Role::kNode);
  constexpr std::size_t kConnections = 67;  // the burst and three more
  std::vector<std::unique_ptr<RawClient>> clients;
  for (std::size_t i = 0; i < kConnections; ++i) {
    clients.push_back(std::make_unique<RawClient>());
    clients.back()->use_keys(keys, server.key);
    clients.back()->connect(server.endpoint.port);
    clients.back()->send(raw_frame(i + 1));
  }
  check_still_serves(server);  // other keys do not notice
  CHECK(server.wait_frames(kConnections + 3, 10000));
  CHECK(server.transport->counters().paced >= 1);
  CHECK(server.transport->counters().refused_keys == 0);
}

TEST_CASE("hostile: a thousand silent connections", "[hostile]") {
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  if (limit.rlim_cur < 2500) {
    limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 4096);
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  Peer server;  // the server's handshakes time out after one second
  std::vector<int> fds;
  for (int i = 0; i < 1000; ++i) {
    const int fd = tcp_connect(server.endpoint.port + i % kChannels);
    if (fd >= 0) fds.push_back(fd);
  }
  CHECK(fds.size() > 900);
  check_still_serves(server);
  // The server closes the connections, so reading finds the end.
  pause_ms(1500);
  std::size_t ended = 0;
  for (const int fd : fds) {
    char buffer[256];
    ssize_t got = 1;
    while (got > 0) got = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    ended += got == 0 || errno == ECONNRESET;
    ::close(fd);
  }
  CHECK(ended == fds.size());
}

// The child has at most 100 descriptors, and listens on TROUPE_CHILD_PORT + 3 until it is killed.
TEST_CASE("hostile child: few descriptors", "[.][hostile-child]") {
  const auto orders = ChildOrders::read();
  REQUIRE(orders.has_value());
  rlimit limit{100, 100};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  TransportOptions options;
  options.identity = orders->identity;
  options.cluster = 77;
  options.handshake_timeout_ms = 1000;
  options.listen = Endpoint{"127.0.0.1", static_cast<std::uint16_t>(orders->port + 3)};
  auto transport = make_zmq_transport(options, {});
  REQUIRE(transport.is_ok());
  (*transport)->allow(orders->server, Role::kNode);
  // Dialling needs descriptors too: running out of them is an error that passes.
  (*transport)->dial(make_key_pair().public_key, {"127.0.0.1", 1}, Channel::kControl);
  pause_ms(20000);
}

TEST_CASE("hostile: a process that runs out of descriptors lives on", "[hostile]") {
  Peer client;
  const std::string seed = fresh_seed();
  const pid_t pid =
      start_child("hostile child: few descriptors", client.key, client.endpoint.port, seed);
  const int port = client.endpoint.port + 3;
  std::vector<int> fds;
  for (int tries = 0; tries < 300 && fds.empty(); ++tries) {
    const int fd = tcp_connect(port);
    if (fd >= 0) fds.push_back(fd);
    if (fd < 0) pause_ms(10);
  }
  REQUIRE_FALSE(fds.empty());
  for (int i = 0; i < 300; ++i) {
    const int fd = tcp_connect(port + i % kChannels);
    if (fd >= 0) fds.push_back(fd);
  }
  pause_ms(300);
  for (const int fd : fds) ::close(fd);
  client.transport->dial(child_identity(seed).public_key,
                         {"127.0.0.1", static_cast<std::uint16_t>(port)}, Channel::kControl);
  CHECK(client.wait_connected(1, 8000));
  CHECK(end_child(pid));
}

// The child dials all channels, sends one frame on each, and waits to be killed.
TEST_CASE("hostile child: speaks and waits", "[.][hostile-child]") {
  const auto orders = ChildOrders::read();
  REQUIRE(orders.has_value());
  TransportOptions options;
  options.identity = orders->identity;
  options.cluster = 77;
  auto transport = make_zmq_transport(options, {});
  REQUIRE(transport.is_ok());
  for (const Channel channel : {Channel::kControl, Channel::kActivations, Channel::kBulk}) {
    (*transport)->dial(orders->server, {"127.0.0.1", orders->port}, channel);
    REQUIRE((*transport)->send(orders->server, channel, frame_of(1)).is_ok());
  }
  pause_ms(20000);
}

TEST_CASE("hostile: the death of a process is noticed at once", "[hostile]") {
  Peer server;
  const std::string seed = fresh_seed();
  const PublicKey key = child_identity(seed).public_key;
  server.transport->allow(key, Role::kNode);
  const pid_t pid =
      start_child("hostile child: speaks and waits", server.key, server.endpoint.port, seed);
  REQUIRE(server.wait_frames(3));
  // The child does not listen, so the answer uses the connection that it made.
  CHECK(server.transport->send(key, Channel::kControl, frame_of(2)).is_ok());
  CHECK(server.left.empty());
  const auto killed = std::chrono::steady_clock::now();
  ::kill(pid, SIGKILL);
  REQUIRE(server.wait_left(3, 2000));
  const auto took = std::chrono::steady_clock::now() - killed;
  CHECK(took < std::chrono::milliseconds(300));
  for (const auto& [peer, channel] : server.left) CHECK(peer == key);
  CHECK(server.transport->send(key, Channel::kControl, frame_of(2)).code() == Code::kUnavailable);
  int status = 0;
  ::waitpid(pid, &status, 0);
}
