#pragma once

#include <array>

#include <troupe/runtime/net/gate.h>
#include <troupe/runtime/net/zmq/socket.h>

// One ZeroMQ message, part by part, on its way through the gate. Transport thread only.

namespace troupe::net::zmq {

// A message's parts, without the routing id. Parts after the third are counted and dropped.
struct Parts {
  std::array<Message, 3> part;
  std::size_t count = 0;
  // Reads one whole message. Returns false if there is none.
  static bool receive(Socket& socket, Parts& parts);
  // Reads the rest of a message whose first part was read already.
  void receive_rest(Socket& socket, bool more);
  // Returns the view that the gate takes; valid while the parts are.
  RawFrame raw() const;
};

// Makes the frame from what the gate accepted, with its payload: a large one stays in the message
// that brought it.
std::optional<InFrame> admit(Gate& gate, const Source& source, Parts& parts, Status* other_version);

}  // namespace troupe::net::zmq
