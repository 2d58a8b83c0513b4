#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <troupe/runtime/net/zmq/monitor.h>
#include <troupe/runtime/net/zmq/shared.h>

// The listening side of one channel: a ROUTER socket, the connections that have spoken on it, and
// when they close. Transport thread only.
//
// A connection is a routing id that the ROUTER itself made; its peer is the User-Id that the
// authentication gave it. It ends when its TCP descriptor is reported closed: what it had sent is
// delivered first.

namespace troupe::net::zmq {

class Listener {
 public:
  explicit Listener(Shared& shared) : shared_(shared) {}
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Binds to the literal address and port. kAlreadyExists names a port in use.
  Status open(Channel channel, const std::string& address, std::uint16_t port);
  // Events, frames out, frames in. True when anything happened.
  bool work();
  // Work is left that no descriptor will announce.
  bool pending() const { return socket_ready_.ready || monitor_ready_.ready || send_now_; }
  // Frames wait for room in a connection's queue: look again in a moment.
  bool blocked() const { return !waiting_.empty(); }
  void look_again() { socket_ready_.ready = true; }
  void enqueue(const OutletPtr& outlet);
  // As of a Dial.
  bool send_at_once();
  void revoke(const PublicKey& peer);

 private:
  struct Connection {
    OutletPtr outlet;
    int fd = -1;
    bool waits = false;  // listed in waiting_
  };

  bool drain_monitor();
  bool receive();
  void take(const std::string& id);
  void tell_version(const std::string& id);
  bool send_waiting();
  void finish_closed();
  void count_unproven();
  void close(const std::string& id);

  Shared& shared_;
  Channel channel_ = Channel::kControl;
  Socket socket_;
  Monitor monitor_;
  Pollable socket_ready_, monitor_ready_;
  Parts parts_;
  Message id_;
  std::unordered_map<std::string, Connection> connections_;  // by routing id
  std::unordered_map<const Outlet*, std::string> ids_;
  std::unordered_set<int> open_fds_;
  std::uint64_t unproven_closed_ = 0;  // since the last line about them
  std::int64_t unproven_logged_us_ = -1'000'000;
  std::unordered_map<int, std::string> speakers_;  // routing ids by open descriptor
  std::vector<std::string> closed_;                // to be closed once drained
  std::vector<std::string> waiting_;               // with frames to send
  bool send_now_ = false;
  const Outlet* spoke_last_ = nullptr;
  std::uint64_t forgotten_ = 0;  // by the directory, when spoke_last_ was entered
};

}  // namespace troupe::net::zmq
