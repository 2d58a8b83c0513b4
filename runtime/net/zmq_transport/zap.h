#pragma once

#include <mutex>
#include <optional>
#include <unordered_map>

#include <troupe/runtime/log.h>
#include <troupe/runtime/net/zmq_transport/counters.h>
#include <troupe/runtime/net/zmq_transport/socket.h>

// Who may connect: the allow-list (any thread) and ZeroMQ's authentication protocol (RFC 27), which
// asks it once a handshake (transport thread).

namespace troupe::net::zmq {

constexpr const char* kZapDomain = "troupe";

struct KeyHash {
  std::size_t operator()(const PublicKey& key) const;
};

class AllowList {
 public:
  void allow(const PublicKey& key, Role role);
  void revoke(const PublicKey& key);
  std::optional<Role> role(const PublicKey& key) const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<PublicKey, Role, KeyHash> roles_;
};

class ZapServer {
 public:
  // Before any CURVE server socket of the context binds.
  static Result<ZapServer> open(const Context& context);
  // Answers what is asked. An accepted connection's User-Id is its key as Z85.
  bool serve(const AllowList& allowed, AtomicCounters& counters);
  int fd() const { return socket_.fd(); }

 private:
  Socket socket_;
  std::int64_t logged_ms_ = 0;
};

}  // namespace troupe::net::zmq
