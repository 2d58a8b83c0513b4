#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <troupe/runtime/net/zmq/poller.h>

// Host names to addresses, without blocking the transport's thread or ZeroMQ's (whose own resolver
// would hold up every connection of its I/O thread).

namespace troupe::net::zmq {

struct Resolution {
  std::atomic<bool> done{false};
  // Valid once done. Literal addresses, IPv4 first; empty when there are none.
  std::vector<std::string> addresses;
  std::string error;
};

// Done at once for a literal address; otherwise a thread of its own asks the system, which may take
// long, and signals `wake`.
std::shared_ptr<Resolution> resolve(const std::string& host, std::shared_ptr<const WakeUp> wake);
// The same, waiting for the answer.
Resolution& resolve_now(const std::string& host, Resolution& into);

}  // namespace troupe::net::zmq
