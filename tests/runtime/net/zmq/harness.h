#pragma once

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <troupe/runtime/net/transport.h>

// The parts that the transport's tests share: free ports, and a peer that records what its handlers
// see.

namespace troupe::net::test {

// Returns true if all three ports of an endpoint can be bound at this moment.
inline bool ports_free(std::uint16_t port) {
  bool free = true;
  int fds[kChannels];
  for (int i = 0; i < kChannels; ++i) {
    fds[i] = ::socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    ::setsockopt(fds[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port + i));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(fds[i], reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) free = false;
  }
  for (const int fd : fds) ::close(fd);
  return free;
}

// Keeps three ports for this process until it ends, against tests that run at the same time.
// Returns false if another process keeps them.
inline bool keep_ports(std::uint16_t port) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("troupe-test-ports-" + std::to_string(::getuid()));
  std::filesystem::create_directory(folder);
  const int file =
      ::open((folder / std::to_string(port)).c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0 && ::flock(file, LOCK_EX | LOCK_NB) == 0)
    return true;  // the file stays open until the process ends
  ::close(file);
  return false;
}

// Returns three free ports in a row on the loopback address, below the range of outgoing
// connections.
inline Endpoint free_endpoint() {
  for (;;) {
    const auto port = static_cast<std::uint16_t>(10000 + 3 * (random_u64() % 6000));
    if (keep_ports(port) && ports_free(port)) return {"127.0.0.1", port};
  }
}

inline std::vector<std::byte> some_bytes(std::size_t count, unsigned seed = 1) {
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::byte>((i * 2654435761u + seed) >> 7);
  }
  return bytes;
}

inline Payload payload_of(std::vector<std::byte> bytes) {
  auto keep = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  return {keep, *keep};
}

inline OutFrame frame_of(std::uint16_t type, std::vector<std::byte> body = {},
                         std::vector<std::byte> payload = {}) {
  OutFrame frame;
  frame.header.type = type;
  frame.body = std::move(body);
  frame.payload = payload_of(std::move(payload));
  return frame;
}

struct Loss {
  PublicKey peer;
  Channel channel;
  Status why;
};

struct PeerOptions {
  std::optional<KeyPair> identity;
  std::uint64_t cluster = 77;
  std::uint64_t incarnation = 0;  // drawn
  bool listen = true;
  std::optional<Endpoint> at;  // absent: a free endpoint is taken
  bool echo = false;           // answers every frame with its bytes, type + 1
  std::size_t queue_frames = 4096;
  int handshake_timeout_ms = 1000;
  std::uint16_t version = wire::kProtocolVersion;
  std::vector<std::pair<PublicKey, Role>> allowed;
};

class Peer {
 public:
  explicit Peer(const PeerOptions& options = {}) {
    TransportOptions transport;
    transport.identity = options.identity.value_or(make_key_pair());
    transport.cluster = options.cluster;
    transport.incarnation = options.incarnation;
    transport.queue_frames = options.queue_frames;
    transport.handshake_timeout_ms = options.handshake_timeout_ms;
    transport.version = options.version;
    transport.allowed = options.allowed;
    key = transport.identity.public_key;
    Handlers handlers;
    handlers.on_frame = [this, echo = options.echo](InFrame frame) {
      if (echo) {
        OutFrame answer;
        answer.header.type = static_cast<std::uint16_t>(frame.header.type + 1);
        answer.body = frame.body;
        answer.payload = frame.payload;
        (void)this->transport->send(frame.peer, frame.channel, std::move(answer));
      }
      record([&] { frames.push_back(std::move(frame)); });
    };
    handlers.on_connected = [this](const PublicKey& peer, Channel channel) {
      record([&] { connections.emplace_back(peer, channel); });
    };
    handlers.on_disconnected = [this](const PublicKey& peer, Channel channel, const Status& why) {
      record([&] { losses.push_back({peer, channel, why}); });
    };
    handlers.on_peer_left = [this](const PublicKey& peer, Channel channel) {
      record([&] { left.emplace_back(peer, channel); });
    };
    for (;;) {
      if (options.listen) transport.listen = endpoint = options.at ? *options.at : free_endpoint();
      auto made = make_zmq_transport(transport, handlers);
      // Another process may have taken the ports since we looked.
      if (!made && made.code() == Code::kAlreadyExists) continue;
      TROUPE_CHECK(made.is_ok(), made.message());
      this->transport = std::move(*made);
      return;
    }
  }
  ~Peer() { transport.reset(); }

  // Waits until `done()` holds, which is called with the lock held. False after the time.
  template <class Done>
  bool wait(Done done, int ms = 5000) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::milliseconds(ms), done);
  }
  bool wait_frames(std::size_t count, int ms = 5000) {
    return wait([&] { return frames.size() >= count; }, ms);
  }
  bool wait_connected(std::size_t count = 1, int ms = 5000) {
    return wait([&] { return connections.size() >= count; }, ms);
  }
  bool wait_lost(std::size_t count = 1, int ms = 5000) {
    return wait([&] { return losses.size() >= count; }, ms);
  }
  bool wait_left(std::size_t count = 1, int ms = 5000) {
    return wait([&] { return left.size() >= count; }, ms);
  }
  // Dials one channel and waits for the handshake.
  bool dial(const Peer& other, Channel channel) {
    const std::size_t before = connections.size();
    transport->dial(other.key, other.endpoint, channel);
    return wait_connected(before + 1);
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<InFrame> frames;
  std::vector<std::pair<PublicKey, Channel>> connections, left;
  std::vector<Loss> losses;
  PublicKey key{};
  Endpoint endpoint;
  std::unique_ptr<Transport> transport;

 private:
  template <class Change>
  void record(Change change) {
    std::lock_guard lock(mutex);
    change();
    changed.notify_all();
  }
};

}  // namespace troupe::net::test
