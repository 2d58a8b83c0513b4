#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include <troupe/runtime/net/zmq/poller.h>

// Resolves host names without blocking the transport's thread or ZeroMQ's (whose own resolver would
// delay every connection of its I/O thread).

namespace troupe::net::zmq {

struct Resolution {
  std::atomic<bool> done{false};
  // Valid when done. Literal addresses, IPv4 first; empty if there are none.
  std::vector<std::string> addresses;
  std::string error;
};

// Starts a lookup. A literal address is done at once; otherwise a thread of its own asks the
// system, which may take long, and signals `wake`.
std::shared_ptr<Resolution> resolve(const std::string& host, std::shared_ptr<const WakeUp> wake);
// Does the same, and waits for the answer.
Resolution& resolve_now(const std::string& host, Resolution& into);

}  // namespace troupe::net::zmq
