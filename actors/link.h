#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>

#include <troupe/actors/actors.h>
#include <troupe/actors/messages/types.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/wire/codec.h>

// Where frames become mail and mail becomes frames. One a process: it owns the transport (or none,
// when everything is in this process) and knows which actor takes which frames. A frame to
// ourselves takes the same way without a socket, so that one process and a cluster run the same
// code. Any thread may call; nothing blocks.

namespace troupe::actors {

// The rooms of a process that control and bulk frames go to.
enum class Room { kNode, kCoordinator, kClient, kBulk, kJobs, kTasks };

struct LinkCounters {
  net::Counters transport;
  std::uint64_t stale_frames = 0;        // of an epoch that nobody here serves
  std::uint64_t wrong_role_frames = 0;   // a sender who may not say this, or on another channel
  std::uint64_t unknown_frames = 0;      // a type that does not exist
  std::uint64_t undecodable_frames = 0;  // a body that is not what its type says
};

// Makes the transport of a link; tests have others than ZeroMQ's.
using TransportMaker = std::function<Result<std::unique_ptr<net::Transport>>(
    const net::TransportOptions&, net::Handlers)>;
// Takes a frame on the thread that brings it, and hands it over: never blocks.
using FrameTaker = std::function<void(const FramePtr&)>;

class Link : public std::enable_shared_from_this<Link> {
 public:
  // With sockets, which open_sockets() opens. A process that listens attaches its rooms in between:
  // peers come back at once, and a frame for a room that nobody has attached is dropped.
  static std::shared_ptr<Link> with_sockets(const net::TransportOptions& options,
                                            TransportMaker maker = net::make_zmq_transport);
  // Opens them. Called once. Errors: those of net::make_zmq_transport.
  Status open_sockets();
  // Both at once, for a process that does not listen. Errors: those of net::make_zmq_transport.
  static Result<std::shared_ptr<Link>> open(const net::TransportOptions& options,
                                            const TransportMaker& maker = net::make_zmq_transport);
  // Without: frames to ourselves only.
  static std::shared_ptr<Link> loopback();
  ~Link();

  const net::PublicKey& self() const { return identity_.public_key; }
  const net::KeyPair& identity() const { return identity_; }
  std::uint64_t incarnation() const { return incarnation_; }
  // nullptr for a loopback link, and before the sockets are open.
  net::Transport* transport() const;

  // `to_incarnation`: as net::OutFrame. Errors: those of net::Transport::send; a loopback never
  // fails.
  Status send(const net::PublicKey& to, MessageType type, std::uint64_t epoch, std::uint64_t step,
              std::vector<std::byte> body, net::Payload payload, std::uint64_t to_incarnation = 0);
  template <class Message>
  Status send(const net::PublicKey& to, MessageType type, const Message& message,
              std::uint64_t epoch = 0, std::uint64_t step = 0, net::Payload payload = {}) {
    return send(to, type, epoch, step, wire::encode(message), std::move(payload));
  }

  // An answer to the very process that sent `request`, also where several share a key (newcomers
  // that enrol with one token).
  template <class Message>
  Status answer(const net::InFrame& request, MessageType type, const Message& message) {
    return send(request.peer, type, 0, 0, wire::encode(message), {}, request.header.incarnation);
  }

  // Closes what we dialled of a peer that is gone; every room hears that its channels closed.
  void disconnect(const net::PublicKey& peer);

  void attach(Room room, link_user user);
  // Steps of `epoch` go to `worker`; results and failures of `epoch` to `engine`.
  void attach_worker(std::uint64_t epoch, FrameTaker worker);
  void attach_worker(std::uint64_t epoch, frame_sink worker);
  void attach_engine(std::uint64_t epoch, frame_sink engine);
  void detach_worker(std::uint64_t epoch);
  void detach_engine(std::uint64_t epoch);

  void set_cluster(std::uint64_t cluster);
  std::uint64_t cluster() const { return cluster_; }
  LinkCounters counters() const;
  void count_undecodable() { ++undecodable_; }
  // Lets go of every actor and closes the sockets; idempotent. No frame is delivered after it.
  void close();

 private:
  Link() = default;
  void deliver(net::InFrame frame);
  void tell_wrong_port(const net::InFrame& frame);
  void tell_wrong_role(const net::InFrame& frame, const char* message);
  void deliver(PeerEvent event);

  net::KeyPair identity_;
  std::uint64_t incarnation_ = 0;
  std::atomic<std::uint64_t> cluster_{0};
  std::function<Result<std::unique_ptr<net::Transport>>()> make_transport_;  // until it is made
  std::unique_ptr<net::Transport> transport_;
  mutable std::shared_mutex transport_mutex_;  // shared while the transport is used
  mutable std::mutex mutex_;                   // guards the routes
  std::map<Room, link_user> rooms_;
  std::map<std::uint64_t, std::shared_ptr<const FrameTaker>> workers_;
  std::map<std::uint64_t, frame_sink> engines_;
  std::atomic<std::uint64_t> stale_{0}, wrong_role_{0}, unknown_{0}, undecodable_{0};
};

// The body of a frame as a Message; a frame that does not decode is counted and logged once here.
template <class Message>
Result<Message> decode_body(Link& link, const net::InFrame& frame) {
  Result<Message> message = wire::decode<Message>(std::span<const std::byte>(frame.body));
  if (!message) {
    link.count_undecodable();
    log(LogLevel::kWarning, "dropped a frame of type " + std::to_string(frame.header.type) +
                                " from " + net::to_z85(frame.peer) + ": " + message.message());
  }
  return message;
}

}  // namespace troupe::actors
