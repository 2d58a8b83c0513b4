#pragma once

#include <troupe/runtime/log.h>
#include <troupe/runtime/net/allow_list.h>
#include <troupe/runtime/net/counters.h>
#include <troupe/runtime/net/zmq/socket.h>

// ZeroMQ's authentication protocol (RFC 27), which asks the allow-list once a handshake. Transport
// thread only.

namespace troupe::net::zmq {

constexpr const char* kZapDomain = "troupe";

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
