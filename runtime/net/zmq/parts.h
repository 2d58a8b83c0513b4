#pragma once

#include <array>

#include <troupe/runtime/net/gate.h>
#include <troupe/runtime/net/zmq/socket.h>

// One message of ZeroMQ, part by part, on its way through the gate. Transport thread only.

namespace troupe::net::zmq {

// A message's parts, without the routing id; those after the third are counted and dropped.
struct Parts {
  std::array<Message, 3> part;
  std::size_t count = 0;
  // Reads one whole message. False: nothing there.
  static bool receive(Socket& socket, Parts& parts);
  // Reads on after a first part that has more behind it.
  void receive_rest(Socket& socket, bool more);
  // As the gate looks at it; valid while the parts are.
  RawFrame raw() const;
};

// What the gate lets through, with its payload: large ones stay in the message that brought them.
std::optional<InFrame> admit(Gate& gate, const Source& source, Parts& parts, Status* other_version);

}  // namespace troupe::net::zmq
