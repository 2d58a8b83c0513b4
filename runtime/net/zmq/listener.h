#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <troupe/runtime/net/zmq/monitor.h>
#include <troupe/runtime/net/zmq/shared.h>

// The listening side of one channel: a ROUTER socket, the connections that have spoken on it, and
// when they close. Transport thread only.
//
// A connection is a routing id that the ROUTER itself made; its peer is the User-Id that the
// authentication gave it. It ends when its TCP descriptor is reported closed: what it had sent is
// delivered first. A connection is closed by us if no frame that the gate lets through comes over
// it soon after it was accepted, or after its key was revoked, and at once if it chose its own id.

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
  bool work(std::int64_t now_us);
  // Work is left that no descriptor will announce.
  bool pending() const { return socket_ready_.ready || monitor_ready_.ready || send_now_; }
  // Frames wait for room in a connection's queue: look again in a moment.
  bool blocked() const { return !waiting_.empty(); }
  void look_again() { socket_ready_.ready = true; }
  void enqueue(const OutletPtr& outlet);
  // As of a Dial.
  bool send_at_once();
  void revoke(const PublicKey& peer, std::int64_t now_us);
  // When a silent connection is to be closed; absent: there is none.
  std::optional<std::int64_t> due_us() const;

 private:
  struct Connection {
    OutletPtr outlet;
    std::string user;  // that authenticated; another one with this routing id is another connection
    int fd = -1;
    bool waits = false;  // listed in waiting_
  };

  // A TCP connection that was accepted.
  struct Accepted {
    std::uint64_t cookie = 0;  // the kernel's number of it
    bool spoke = false;
  };

  Status learn_first_id(Socket& router);
  bool is_own_id(const std::string& id);
  bool drain_monitor();
  void spoke(int fd);
  void must_speak(int fd, std::int64_t until_us);
  void close_silent(std::int64_t now_us);
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
  std::unordered_map<int, Accepted> open_fds_;
  struct Silent {
    int fd = -1;
    std::uint64_t cookie = 0;
  };
  std::multimap<std::int64_t, Silent> silent_;  // by when they must have spoken
  std::uint32_t first_id_ = 0;                  // of the ROUTER's own making
  std::uint32_t accepted_ = 0;                  // connections, modulo 2^32
  std::uint64_t unproven_closed_ = 0;           // since the last line about them
  std::int64_t unproven_logged_us_ = -1'000'000;
  std::unordered_map<int, std::string> speakers_;  // routing ids by open descriptor
  std::vector<std::string> closed_;                // to be closed once drained
  std::vector<std::string> waiting_;               // with frames to send
  bool send_now_ = false;
  const Outlet* spoke_last_ = nullptr;
  std::uint64_t forgotten_ = 0;  // by the directory, when spoke_last_ was entered
};

}  // namespace troupe::net::zmq
