#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <troupe/runtime/net/counters.h>
#include <troupe/runtime/net/zmq/socket.h>

// The connections for sending: an Outlet for each, with the bounded queue of frames that cannot go
// yet, and the Directory in which any thread finds the outlet for a peer.

namespace troupe::net::zmq {

struct SealedFrame {
  std::array<std::byte, wire::kHeaderBytes> header;
  std::vector<std::byte> body;
  Payload payload;
};

struct Outlet {
  Outlet(const PublicKey& to, Channel over, std::uint64_t of)
      : peer(to), channel(over), incarnation(of) {}
  const PublicKey peer;
  const Channel channel;
  const std::uint64_t incarnation;      // of the process at the other end; 0 if not known (dialled)
  std::atomic<std::size_t> waiting{0};  // frames that send() accepted and ZeroMQ does not have yet
  std::atomic<bool> connected{false};
  // The transport's thread only:
  bool closed = false;
  std::deque<SealedFrame> queue;
};
using OutletPtr = std::shared_ptr<Outlet>;

enum class Flushed { kAll, kBlocked, kGone };
// Gives at most 64 of the outlet's frames to the socket, so that other outlets get their turn;
// `routing_id` is set if the socket is a ROUTER. Returns kGone if the connection no longer exists.
Flushed flush(Socket& socket, Outlet& outlet, const std::string* routing_id,
              AtomicCounters& counters);

// Finds the outlet for a peer. Any thread. A dial is known here from dial() to disconnect(), or
// until it is refused.
class Directory {
 public:
  // Makes the outlet of a new dial with the given number; nullptr if the peer is dialled already.
  OutletPtr begin_dial(const PublicKey& peer, Channel channel, std::uint64_t dial);
  void end_dial(const PublicKey& peer, Channel channel, std::uint64_t dial);
  void end_dials(const PublicKey& peer);
  // Sets the outlet of a dial that connected again, or none while the dial is down.
  void set_dialled(const PublicKey& peer, Channel channel, std::uint64_t dial, OutletPtr outlet);

  // Says that a frame came over an accepted connection: answers now go there.
  void spoke(const OutletPtr& outlet);
  // Returns true if it was the last accepted connection of its peer on its channel.
  bool left(const OutletPtr& outlet);
  void forget(const PublicKey& peer);
  // Returns the number of times that something was forgotten: after a change, a connection that
  // spoke before must be entered again.
  std::uint64_t forgotten() const { return forgotten_; }

  // Finds the connected dial, or else the accepted connection that spoke last, or else a dial under
  // way. With an incarnation, finds only accepted connections of that process.
  OutletPtr find(const PublicKey& peer, Channel channel, std::uint64_t incarnation) const;

 private:
  struct Way {
    std::uint64_t dial = 0;  // 0 if not dialled
    OutletPtr dialled;
    std::vector<OutletPtr> accepted;  // the one that spoke last is last
    bool empty() const { return dial == 0 && accepted.empty(); }
  };
  using Ways = std::array<Way, kChannels>;
  void tidy(std::map<PublicKey, Ways>::iterator entry);

  mutable std::mutex mutex_;
  std::map<PublicKey, Ways> ways_;
  std::atomic<std::uint64_t> forgotten_{0};
};

}  // namespace troupe::net::zmq
