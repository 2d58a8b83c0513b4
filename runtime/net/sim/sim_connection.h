#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include <troupe/runtime/net/transport.h>
#include <troupe/runtime/wire/frame.h>

// Connections of a simulated network, the frames on them, and what stands at their ends. Only the
// files of this folder include it.

namespace troupe::net {

using SimHost = std::size_t;

}  // namespace troupe::net

namespace troupe::net::sim {

// One message on its way, or the end of what its sender says on this connection.
struct Frame {
  bool end = false;
  std::array<std::byte, wire::kHeaderBytes> header{};
  std::vector<std::byte> body, payload;
  bool damaged = false;         // the receiver must not take it
  std::shared_ptr<bool> taken;  // of one that comes twice: it must be taken once
  std::uint64_t life = 0;       // of the connection: what is on its way when it breaks is lost
};

struct Connection;
using ConnectionPtr = std::shared_ptr<Connection>;

// What the network speaks to at an end of a connection: the transport of one process.
class Station {
 public:
  virtual ~Station() = default;
  virtual void receive(const ConnectionPtr& connection, int end, Frame& frame) = 0;
  virtual void closed(const ConnectionPtr& connection, int end, const Status& why) = 0;
};

// End 0 dialled, end 1 accepted.
struct Connection {
  Channel channel = Channel::kControl;
  PublicKey dialler{};   // the key that end 0 showed
  PublicKey listener{};  // the key of end 1
  std::uint64_t life = 1;
  std::uint64_t incarnation = 0;  // that end 0 has shown; 0: it has not spoken
  struct End {
    std::weak_ptr<Station> station;
    SimHost host = 0;
    bool open = true;
    std::int64_t last_due_us = 0;  // when what is said to it last arrives
    std::deque<std::shared_ptr<Frame>> held;
    bool silent = false;
    std::uint64_t silences = 0;
  };
  std::array<End, 2> ends;
};

}  // namespace troupe::net::sim
