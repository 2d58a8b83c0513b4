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
// authentication gave it. It ends when its TCP descriptor is reported closed, after everything that
// it had sent was delivered. We close a connection if no frame that the gate accepts comes over it
// soon after it was accepted, or after its key was revoked. We close it at once if it chose its own
// id.

namespace troupe::net::zmq {

class Listener {
 public:
  explicit Listener(Shared& shared) : shared_(shared) {}
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  // Binds to the literal address and port.
  //   Errors: kAlreadyExists (names the port in use).
  Status open(Channel channel, const std::string& address, std::uint16_t port);
  // Handles events, frames out and frames in. Returns true if anything happened.
  bool work(std::int64_t now_us);
  // True if work is left that no descriptor will announce.
  bool pending() const { return socket_ready_.ready || monitor_ready_.ready || send_now_; }
  // True if frames wait for room in a connection's queue: call work() again in a moment.
  bool blocked() const { return !waiting_.empty(); }
  void look_again() { socket_ready_.ready = true; }
  void enqueue(const OutletPtr& outlet);
  // Does the same as Dial::send_at_once().
  bool send_at_once();
  void revoke(const PublicKey& peer, std::int64_t now_us);
  // Returns when a silent connection is to be closed; absent if there is none.
  std::optional<std::int64_t> due_us() const;

 private:
  struct Connection {
    OutletPtr outlet;
    std::string user;  // the authenticated user; the same routing id with another user is another
                       // connection connection
    int fd = -1;
    std::string address;  // the peer's, on the control channel
    bool waits = false;   // it is listed in waiting_
  };

  // A TCP connection that was accepted.
  struct Accepted {
    std::uint64_t cookie = 0;  // the kernel's number of the connection
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
  std::multimap<std::int64_t, Silent> silent_;  // by the time until which they must have spoken
  std::uint32_t first_id_ = 0;                  // of the ids that the ROUTER made
  std::uint32_t accepted_ = 0;                  // connections, modulo 2^32
  std::uint64_t unproven_closed_ = 0;           // since the log's last line about them
  std::int64_t unproven_logged_us_ = -1'000'000;
  std::unordered_map<int, std::string> speakers_;  // routing ids by open descriptor
  std::vector<std::string> closed_;                // to be closed when no message is left
  std::vector<std::string> waiting_;               // connections with frames to send
  bool send_now_ = false;
  const Outlet* spoke_last_ = nullptr;
  std::uint64_t forgotten_ = 0;  // the directory's count when spoke_last_ was entered
};

}  // namespace troupe::net::zmq
