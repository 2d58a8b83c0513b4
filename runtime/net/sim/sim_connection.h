#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include <troupe/runtime/net/transport.h>
#include <troupe/runtime/wire/frame.h>

// Connections of a simulated network, the frames on them, and the transports at their ends. Only
// the files of this folder include it.

namespace troupe::net {

using SimHost = std::size_t;

}  // namespace troupe::net

namespace troupe::net::sim {

// A frame that is being delivered. With `end`, it stands for the end of the connection instead.
struct Frame {
  bool end = false;
  std::array<std::byte, wire::kHeaderBytes> header{};
  std::vector<std::byte> body, payload;
  bool damaged = false;  // the receiver must not accept it
  // Shared by the two copies of a doubled frame: only one may be accepted.
  std::shared_ptr<bool> taken;
  std::uint64_t life = 0;  // of the connection: frames under way are lost when it breaks
};

struct Connection;
using ConnectionPtr = std::shared_ptr<Connection>;

// The network's interface to an end of a connection, which is the transport of one process.
class Station {
 public:
  virtual ~Station() = default;
  virtual void receive(const ConnectionPtr& connection, int end, Frame& frame) = 0;
  virtual void closed(const ConnectionPtr& connection, int end, const Status& why) = 0;
};

// End 0 dialled, and end 1 accepted.
struct Connection {
  Channel channel = Channel::kControl;
  PublicKey dialler{};   // the key that end 0 showed
  PublicKey listener{};  // the key of end 1
  std::uint64_t life = 1;
  std::uint64_t incarnation = 0;  // of end 0; 0 if it has not spoken yet
  struct End {
    std::weak_ptr<Station> station;
    SimHost host = 0;
    bool open = true;
    std::int64_t last_due_us = 0;  // when the last frame towards this end arrives
    std::deque<std::shared_ptr<Frame>> held;
    bool silent = false;
    std::uint64_t silences = 0;
  };
  std::array<End, 2> ends;
};

}  // namespace troupe::net::sim
