#pragma once

#include <array>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <troupe/runtime/net/gate.h>
#include <troupe/runtime/net/sim/sim_network.h>

// The transport of one process on a simulated network: its dials, its allow-list and its gate. Only
// runtime/net/sim/sim_core.cpp includes it.

namespace troupe::net::sim {

struct Dial {
  std::uint64_t number = 0;
  Endpoint endpoint;
  PublicKey shown{};         // our key, or the enrolment key
  ConnectionPtr connection;  // set while connected
  bool first = true;         // on the first attempt, frames wait for it
  std::vector<OutFrame> waiting;
  int backoff_ms = 50, dropped = 0;
  bool paused = false;  // until the next attempt
  std::uint64_t pauses = 0;
};

struct Core final : Station, std::enable_shared_from_this<Core> {
  Core(SimNetwork& of, SimHost on, const TransportOptions& with, Handlers to);

  void dial(const PublicKey& peer, const Endpoint& endpoint, Channel channel,
            const std::optional<KeyPair>& as);
  void disconnect(const PublicKey& peer);
  void revoke(const PublicKey& key);
  Status send(const PublicKey& peer, Channel channel, OutFrame frame);
  void shut_down();

  // The network calls the next two functions.
  void receive(const ConnectionPtr& connection, int end, Frame& frame) override;
  void closed(const ConnectionPtr& connection, int end, const Status& why) override;

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
  std::vector<ConnectionPtr> accepted;  // those that have spoken, the most recent one last
};

}  // namespace troupe::net::sim
