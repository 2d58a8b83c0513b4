#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <troupe/runtime/net/sim/sim_connection.h>
#include <troupe/runtime/net/transport.h>

// A network of several hosts in one process, on virtual time, for tests. It keeps the promises of
// the transport over ZeroMQ, with the same gate and frames, and has every fault that a network can
// have. Connections are ordered and lose nothing until they break; then the frames under way are
// lost. A run is determined by its seed. One thread makes all calls, and the handlers run within
// advance().
//
// It does not simulate CURVE itself (a key is believed, and a damaged frame breaks its connection,
// as the cipher would), queues that run full, names that do not resolve, or other protocol
// versions.

namespace troupe::net {

namespace sim {
struct Core;
}  // namespace sim

struct SimOptions {
  std::uint64_t seed = 1;
  std::int64_t latency_us = 300;  // one way, plus up to jitter_us
  std::int64_t jitter_us = 700;
  // The number of frames in 10,000 that are sent twice, overtake others on the activations channel,
  // have a byte changed, or are repeated later by an eavesdropper.
  unsigned duplicate = 0, reorder = 0, damage = 0, replay = 0;
};

// How often each fault has happened, that is, has affected a frame or a connection.
struct SimFaults {
  std::uint64_t frames = 0, duplicated = 0, reordered = 0, damaged = 0, replayed = 0;
  std::uint64_t lost = 0;            // frames that were lost with their connection
  std::uint64_t held = 0;            // frames that a cut link or a frozen host delayed
  std::uint64_t broken = 0;          // connections that broke
  std::uint64_t timed_out = 0;       // connections that were closed for silence
  std::uint64_t refused = 0;         // dials whose key was not allowed
  std::uint64_t walled = 0;          // dials that a firewall swallowed
  std::uint64_t damaged_taken = 0;   // damaged frames that the gate accepted: must stay 0
  std::uint64_t repeated_taken = 0;  // frames that the gate accepted twice: must stay 0
  SimFaults& operator+=(const SimFaults& other);
};

class SimNetwork {
 public:
  explicit SimNetwork(const SimOptions& options, std::int64_t now_us);
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // Makes the transport of a process on `host`. Endpoints are found by the text of their host and
  // port. Destroying the transport is the death of the process: its connections close.
  std::unique_ptr<Transport> open(SimHost host, const TransportOptions& options, Handlers handlers);

  // Returns the time of the next event; absent if there is none.
  std::optional<std::int64_t> next_us() const;
  // Advances the time, and lets everything happen that is due by then.
  void advance(std::int64_t now_us);

  // Cuts one direction: frames from `from` do not reach `to`. They wait, as TCP's do, until the
  // link is whole again or the connection is closed for silence.
  void cut(SimHost from, SimHost to);
  void heal(SimHost from, SimHost to);
  void heal_all();
  // Lets nobody dial the host any more, as behind a firewall; the host itself can still dial.
  void wall_in(SimHost host) { walled_.insert(host); }
  void open_walls() { walled_.clear(); }
  bool is_walled_in(SimHost host) const { return walled_.contains(host); }
  // Freezes a host: its connections stay open, and frames for it wait.
  void freeze(SimHost host);
  void thaw(SimHost host);
  bool is_frozen(SimHost host) const { return frozen_.contains(host); }
  // Breaks every connection between the two hosts.
  void break_between(SimHost a, SimHost b);

  const SimFaults& faults() const { return faults_; }

  // For tests: on_sent sees each frame on its way out, and on_admitted each one that the receiver's
  // gate accepted.
  std::function<void(SimHost from, SimHost to, const OutFrame&)> on_sent;
  std::function<void(SimHost from, SimHost to, const InFrame&)> on_admitted;

 private:
  friend struct sim::Core;
  using Action = std::function<void()>;
  struct Event {
    std::int64_t due_us;
    std::uint64_t number;
    SimHost host;  // the host that acts; kNobody is the network
    std::shared_ptr<Action> action;
    bool operator>(const Event& other) const {
      return std::pair(due_us, number) > std::pair(other.due_us, other.number);
    }
  };
  static constexpr SimHost kNobody = ~SimHost{0};
  using ConnectionPtr = std::shared_ptr<sim::Connection>;

  void at(std::int64_t due_us, SimHost host, Action action);
  std::int64_t latency();
  std::uint64_t draw(std::uint64_t below) { return below == 0 ? 0 : random_() % below; }
  bool chance(unsigned of_10000) { return draw(10'000) < of_10000; }
  bool is_cut(SimHost from, SimHost to) const { return cuts_.contains({from, to}); }
  bool hears_nothing(const sim::Connection& connection, int end) const;

  void transmit(const ConnectionPtr& connection, int from, sim::Frame frame);
  void put_on_wire(const ConnectionPtr& connection, int from, std::shared_ptr<sim::Frame> frame,
                   std::int64_t due_us);
  void arrive(const ConnectionPtr& connection, int to, const std::shared_ptr<sim::Frame>& frame);
  void take(const ConnectionPtr& connection, int to, sim::Frame& frame);
  void close(const ConnectionPtr& connection, int end, const Status& why, bool tell);
  void look_at_silence(const ConnectionPtr& connection);
  void expect_word(const ConnectionPtr& connection, int end);
  void look_at_all();
  sim::Core* listener(const Endpoint& endpoint) const;

  SimOptions options_;
  std::mt19937_64 random_;
  std::int64_t now_us_;
  std::uint64_t events_ = 0;
  SimFaults faults_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> due_;
  std::map<SimHost, std::vector<Event>> waiting_;  // for frozen hosts
  std::set<SimHost> frozen_, walled_;
  std::set<std::pair<SimHost, SimHost>> cuts_;
  std::vector<ConnectionPtr> connections_;
  std::map<std::string, std::weak_ptr<sim::Core>> listeners_;  // by their control endpoint
};

}  // namespace troupe::net
