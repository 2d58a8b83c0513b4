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

// Ways out: one Outlet a connection, with the bounded queue of what cannot go yet, and the
// Directory in which any thread finds the way to a peer.

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
  const std::uint64_t incarnation;      // of the process at the other end; 0: not known (dialled)
  std::atomic<std::size_t> waiting{0};  // frames accepted by send() and not yet ZeroMQ's
  std::atomic<bool> connected{false};
  // The transport's thread only:
  bool closed = false;
  std::deque<SealedFrame> queue;
};
using OutletPtr = std::shared_ptr<Outlet>;

enum class Flushed { kAll, kBlocked, kGone };
// Gives the outlet's frames to the socket, at most `frames_max`; with `routing_id` where the socket
// is a ROUTER. kGone: the connection does not exist any more.
Flushed flush(Socket& socket, Outlet& outlet, const std::string* routing_id, int frames_max,
              AtomicCounters& counters);

// Thread-safe. A dial is known here from dial() to disconnect() or to a refusal.
class Directory {
 public:
  // The outlet of a new dial with the given number; nullptr when the peer is dialled already.
  OutletPtr begin_dial(const PublicKey& peer, Channel channel, std::uint64_t dial);
  void end_dial(const PublicKey& peer, Channel channel, std::uint64_t dial);
  void end_dials(const PublicKey& peer);
  // The way of a dial that connected again, or none while it is down.
  void set_dialled(const PublicKey& peer, Channel channel, std::uint64_t dial, OutletPtr outlet);

  // An accepted connection spoke: it is now the one to answer by.
  void spoke(const OutletPtr& outlet);
  // True when it was the last accepted connection of its peer on its channel.
  bool left(const OutletPtr& outlet);
  void forget(const PublicKey& peer);
  // How often something was forgotten: who spoke before must be entered again.
  std::uint64_t forgotten() const { return forgotten_; }

  // The connected dial, else the accepted connection that spoke last, else a dial under way. With
  // an incarnation, only accepted connections of that process.
  OutletPtr find(const PublicKey& peer, Channel channel, std::uint64_t incarnation) const;

 private:
  struct Way {
    std::uint64_t dial = 0;  // 0: not dialled
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
