#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <troupe/runtime/net/gate.h>
#include <troupe/runtime/net/sim/sim_network.h>

// The inside of a simulated network: what one process's transport consists of, and connections.
// Only runtime/net/sim_*.cpp include it.

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

// End 0 dialled, end 1 accepted.
struct Connection {
  Channel channel = Channel::kControl;
  PublicKey dialler{};   // the key that end 0 showed
  PublicKey listener{};  // the key of end 1
  std::uint64_t life = 1;
  std::uint64_t incarnation = 0;  // that end 0 has shown; 0: it has not spoken
  struct End {
    std::weak_ptr<Core> core;
    SimHost host = 0;
    bool open = true;
    std::int64_t last_due_us = 0;  // when what is said to it last arrives
    std::deque<std::shared_ptr<Frame>> held;
    bool silent = false;
    std::uint64_t silences = 0;
  };
  std::array<End, 2> ends;
};
using ConnectionPtr = std::shared_ptr<Connection>;

struct Dial {
  std::uint64_t number = 0;
  Endpoint endpoint;
  PublicKey shown{};         // our key, or the enrolling one
  ConnectionPtr connection;  // while connected
  bool first = true;         // the first attempt: frames wait for it
  std::vector<OutFrame> waiting;
  int backoff_ms = 50, dropped = 0;
  bool paused = false;  // until the next attempt
  std::uint64_t pauses = 0;
};

struct Core : std::enable_shared_from_this<Core> {
  Core(SimNetwork& of, SimHost on, const TransportOptions& with, Handlers to);

  void dial(const PublicKey& peer, const Endpoint& endpoint, Channel channel,
            const std::optional<KeyPair>& as);
  void disconnect(const PublicKey& peer);
  void revoke(const PublicKey& key);
  Status send(const PublicKey& peer, Channel channel, OutFrame frame);
  void shut_down();

  // What the network tells.
  void receive(const ConnectionPtr& connection, int end, Frame& frame);
  void closed(const ConnectionPtr& connection, int end, const Status& why);

  using Way = std::pair<PublicKey, Channel>;
  void try_later(const Way& way, Dial& dial, std::int64_t pause_us);
  void attempt(const Way& way, std::uint64_t number);
  void connected(const Way& way, std::uint64_t number, const ConnectionPtr& connection);
  void lost(const Way& way, std::uint64_t number, const Status& why, bool final = false);
  void put(const ConnectionPtr& connection, int from, OutFrame frame);
  Dial* find(const Way& way, std::uint64_t number);

  SimNetwork& network;
  const SimHost host;
  const TransportOptions options;
  const Handlers handlers;
  AllowList allowed;
  AtomicCounters counters;
  Gate gate;
  std::array<std::uint64_t, kChannels> sequences{};
  std::uint64_t dials_made = 0;
  std::map<Way, Dial> dials;
  std::vector<ConnectionPtr> accepted;  // that have spoken, who spoke last is last
};

}  // namespace troupe::net::sim
