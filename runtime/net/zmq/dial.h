#pragma once

#include <optional>
#include <string>

#include <troupe/runtime/net/zmq/monitor.h>
#include <troupe/runtime/net/zmq/resolver.h>
#include <troupe/runtime/net/zmq/shared.h>

// One channel to a peer that we dialled: a DEALER socket that is made anew for every attempt, with
// pauses between them, until the dial is destroyed or the peer refuses our key. Transport thread
// only.

namespace troupe::net::zmq {

struct DialOrder {
  std::uint64_t number = 0;  // unique; the Directory knows the dial by it
  PublicKey peer{};
  Endpoint endpoint;  // the control endpoint
  Channel channel = Channel::kControl;
  KeyPair identity;  // the key pair that we show
  OutletPtr outlet;  // holds the frames that wait for the first handshake
};

class Dial {
 public:
  Dial(Shared& shared, DialOrder order);
  ~Dial();
  Dial(const Dial&) = delete;
  Dial& operator=(const Dial&) = delete;

  const PublicKey& peer() const { return order_.peer; }
  Channel channel() const { return order_.channel; }
  const Outlet* outlet() const { return outlet_.get(); }
  // Handles events, frames out, frames in, and what is due at `now_us`. Returns true if anything
  // happened.
  bool work(std::int64_t now_us);
  bool pending() const { return socket_ready_.ready || monitor_ready_.ready || send_now_; }
  bool blocked() const { return state_ == State::kConnected && !outlet_->queue.empty(); }
  void look_again() { socket_ready_.ready = true; }
  // Returns when work() is due even if nothing happens; absent if never.
  std::optional<std::int64_t> due_us() const;
  void enqueue() { send_now_ = true; }
  // Ends the pause between two attempts, because the connection is needed now.
  void hurry();
  // Sends waiting frames, on any thread that holds the transport's lock. Returns true if the
  // transport's own thread must run: frames are left, or something has arrived.
  bool send_at_once();
  // True if the peer refused our key: nothing more will happen.
  bool over() const { return state_ == State::kOver; }

 private:
  enum class State { kWaiting, kResolving, kConnecting, kConnected, kOver };

  void start(std::int64_t now_us);
  void connect(std::int64_t now_us);
  Status open_socket();
  bool drain_monitor(std::int64_t now_us);
  bool send();
  bool receive();
  bool connected(std::int64_t now_us);
  // Ends this attempt or connection; tries again after a pause unless `final`.
  void lost(std::int64_t now_us, Status why, bool final = false);
  void close_socket();
  std::string name() const;

  Shared& shared_;
  const DialOrder order_;
  State state_ = State::kWaiting;
  std::int64_t due_us_ = 0;  // when the next attempt is due, or the deadline of this one
  int backoff_ms_;
  int dropped_ = 0;  // attempts in a row that ended during the handshake
  bool tcp_connected_ = false;
  std::int64_t attempted_us_ = 0;
  std::size_t attempts_ = 0;
  std::shared_ptr<Resolution> resolution_;
  OutletPtr outlet_;
  Socket socket_;
  Monitor monitor_;
  Pollable socket_ready_{false}, monitor_ready_{false};
  bool send_now_ = false;
  Parts parts_;
};

}  // namespace troupe::net::zmq
