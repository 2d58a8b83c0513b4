#pragma once

#include <cstdint>
#include <optional>

#include <troupe/runtime/net/zmq/socket.h>

// What happens to a socket's connections, as ZeroMQ reports it. Transport thread only.

namespace troupe::net::zmq {

struct MonitorEvent {
  int event = 0;            // ZMQ_EVENT_...
  std::uint32_t value = 0;  // a descriptor, an errno or a status, by event
};

class Monitor {
 public:
  Monitor() = default;
  // Called before the watched socket binds or connects. The watched socket must be closed before
  // its monitor, so that no more events come: an I/O thread with an event that nobody reads would
  // wait forever.
  static Result<Monitor> watch(const Context& context, Socket& watched);
  std::optional<MonitorEvent> next();
  int fd() const { return socket_.fd(); }
  bool is_open() const { return socket_.is_open(); }

 private:
  Socket socket_;
};

}  // namespace troupe::net::zmq
