#pragma once

#include <algorithm>
#include <thread>

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <zmq.h>

#include <troupe/tests/runtime/net/zmq/harness.h>

// Peers that send what our own transport never would.

namespace troupe::net::test {

inline void pause_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

// Waits until a counter of the peer's transport reaches `least`.
inline bool counted(const Peer& peer, std::uint64_t Counters::*counter, std::uint64_t least) {
  for (int i = 0; i < 300; ++i) {
    if (peer.transport->counters().*counter >= least) return true;
    pause_ms(10);
  }
  return false;
}

// Opens a plain TCP connection to one port of the loopback address; -1 if it was refused.
inline int tcp_connect(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd >= 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

// A raw ZeroMQ client, which sends what our own transport never would.
class RawClient {
 public:
  explicit RawClient(int type = ZMQ_DEALER) : socket_(zmq_socket(context_, type)) {
    const int zero = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &zero, sizeof zero);
  }
  ~RawClient() {
    zmq_close(socket_);
    zmq_ctx_term(context_);
  }
  void use_keys(const KeyPair& own, const PublicKey& server) {
    zmq_setsockopt(socket_, ZMQ_CURVE_SERVERKEY, server.data(), server.size());
    zmq_setsockopt(socket_, ZMQ_CURVE_PUBLICKEY, own.public_key.data(), own.public_key.size());
    zmq_setsockopt(socket_, ZMQ_CURVE_SECRETKEY, own.secret_key.data(), own.secret_key.size());
  }
  void name(const std::string& id) {
    zmq_setsockopt(socket_, ZMQ_ROUTING_ID, id.data(), id.size());
  }
  void connect(int port) {
    const std::string at = "tcp://127.0.0.1:" + std::to_string(port);
    REQUIRE(zmq_connect(socket_, at.c_str()) == 0);
  }
  void send(const std::vector<std::vector<std::byte>>& parts) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      zmq_send(socket_, parts[i].data(), parts[i].size(),
               i + 1 < parts.size() ? ZMQ_SNDMORE : ZMQ_DONTWAIT);
    }
  }

 private:
  void* context_ = zmq_ctx_new();
  void* socket_;
};

// A raw client whose key the server lists as a node's; the test connects it.
struct ListedClient : RawClient {
  explicit ListedClient(Peer& server) {
    server.transport->allow(keys.public_key, Role::kNode);
    use_keys(keys, server.key);
  }
  const KeyPair keys = make_key_pair();
};

using RawParts = std::vector<std::vector<std::byte>>;

inline RawParts raw_frame(std::uint64_t sequence, std::uint64_t incarnation = 5,
                          const std::vector<std::byte>& body = some_bytes(20),
                          const std::vector<std::byte>& payload = some_bytes(100)) {
  wire::Header header;
  header.type = 9;
  header.cluster = 77;
  header.incarnation = incarnation;
  header.sequence = sequence;
  const auto head = wire::seal(header, body, payload);
  return {std::vector<std::byte>(head.begin(), head.end()), body, payload};
}

inline void check_still_serves(Peer& server) {
  PeerOptions options;
  options.listen = false;
  Peer legitimate(options);
  server.transport->allow(legitimate.key, Role::kNode);
  for (const Channel channel : {Channel::kControl, Channel::kActivations, Channel::kBulk}) {
    REQUIRE(legitimate.dial(server, channel));
    REQUIRE(legitimate.transport->send(server.key, channel, frame_of(42)).is_ok());
  }
  // Others may be speaking at the same time: only its own frames count.
  REQUIRE(server.wait([&] {
    return std::count_if(server.frames.begin(), server.frames.end(), [&](const InFrame& frame) {
             return frame.peer == legitimate.key && frame.header.type == 42;
           }) == 3;
  }));
}

}  // namespace troupe::net::test
