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
#include <troupe/runtime/net/key_pace.h>
#include <troupe/runtime/wire/encode.h>

// Turns frames into mail and mail into frames. Each process has one link. It owns the transport (or
// none, if everything is in this process) and knows which actor takes which frames. A frame to our
// own process takes the same path without a socket, so that one process and a cluster run the same
// code. Any thread may call; nothing blocks.

namespace troupe::actors {

// The rooms of a process that get control and bulk frames.
enum class Room { kNode, kCoordinator, kClient, kBulk, kJobs, kTasks };

struct LinkCounters {
  net::Counters transport;
  std::uint64_t stale_frames = 0;       // of an epoch that this process does not serve
  std::uint64_t strange_frames = 0;     // of a peer that has no such place in its deployment's path
  std::uint64_t hasty_frames = 0;       // of a peer that sends more in a second than it may
  std::uint64_t wrong_role_frames = 0;  // the sender's role may not send it, or not on this channel
  std::uint64_t foreign_orders = 0;     // of a head that is not the one of this process
  std::uint64_t unknown_frames = 0;     // of a type that does not exist
  std::uint64_t undecodable_frames = 0;  // the body does not fit its type
};

// Makes the transport of a link; tests use other transports than ZeroMQ's.
using TransportMaker = std::function<Result<std::unique_ptr<net::Transport>>(
    const net::TransportOptions&, net::Handlers)>;
// Takes a frame on the thread that brings it, and passes it on without blocking.
using FrameTaker = std::function<void(const FramePtr&)>;

// The peers that may send an engine something: results come from the last stage, and failures from
// any.
struct PathPeers {
  net::PublicKey last{};
  std::vector<net::PublicKey> stages;
};

class Link : public std::enable_shared_from_this<Link> {
 public:
  // Makes a link whose sockets open_sockets() will open. A process that listens attaches its rooms
  // in between, because peers come back at once, and a frame for a room that is not attached is
  // dropped.
  static std::shared_ptr<Link> with_sockets(const net::TransportOptions& options,
                                            TransportMaker maker = net::make_zmq_transport);
  // Opens the sockets. Called once. Errors: those of net::make_zmq_transport.
  Status open_sockets();
  // Does what with_sockets() and open_sockets() do, for a process that does not listen. Errors:
  // those of net::make_zmq_transport.
  static Result<std::shared_ptr<Link>> open(const net::TransportOptions& options,
                                            const TransportMaker& maker = net::make_zmq_transport);
  // Makes a link without sockets, for frames to our own process only.
  static std::shared_ptr<Link> loopback();
  ~Link();

  const net::PublicKey& self() const { return identity_.public_key; }
  const net::KeyPair& identity() const { return identity_; }
  std::uint64_t incarnation() const { return incarnation_; }
  // Returns nullptr for a loopback link, and before the sockets are open.
  net::Transport* transport() const;

  // Sends a message; `to_incarnation` is that of net::OutFrame. Errors: those of
  // net::Transport::send; a loopback never fails.
  Status send(const net::PublicKey& to, MessageType type, std::uint64_t epoch, std::uint64_t step,
              std::vector<std::byte> body, net::Payload payload, std::uint64_t to_incarnation = 0);
  template <class Message>
  Status send(const net::PublicKey& to, MessageType type, const Message& message,
              std::uint64_t epoch = 0, std::uint64_t step = 0, net::Payload payload = {}) {
    return send(to, type, epoch, step, wire::encode(message), std::move(payload));
  }

  // Answers exactly the process that sent `request`, even if several processes share its key
  // (newcomers that enrol with one token).
  template <class Message>
  Status answer(const net::InFrame& request, MessageType type, const Message& message) {
    return send(request.peer, type, 0, 0, wire::encode(message), {}, request.header.incarnation);
  }

  // Closes the connections that we dialled to a peer that is gone. Every room is told that its
  // channels closed.
  void disconnect(const net::PublicKey& peer);

  void attach(Room room, link_user user);
  // Delivers steps of `epoch` that come from the peer `from`, the stage before, to `worker`; and
  // results and failures of `epoch` that come from the peers of `path` to `engine`.
  void attach_worker(std::uint64_t epoch, const net::PublicKey& from, FrameTaker worker);
  void attach_worker(std::uint64_t epoch, const net::PublicKey& from, frame_sink worker);
  void attach_engine(std::uint64_t epoch, PathPeers path, frame_sink engine);
  void detach_worker(std::uint64_t epoch);
  void detach_engine(std::uint64_t epoch);

  // Sets the head whose orders this process takes; until then, it is the process itself.
  void set_head(const net::PublicKey& head);
  net::PublicKey head() const;
  void set_cluster(std::uint64_t cluster);
  std::uint64_t cluster() const { return cluster_; }
  LinkCounters counters() const;
  void count_undecodable() { ++undecodable_; }
  // Releases every actor and closes the sockets. Idempotent. No frame is delivered afterwards.
  void close();

 private:
  Link() = default;
  void deliver(net::InFrame frame);
  void deliver_step(const FramePtr& mail, MessageType type);
  bool is_foreign_order(const net::InFrame& frame, const MessageRow& row);
  bool is_hasty(const net::InFrame& frame);
  void tell_hasty(const net::InFrame& frame, const net::Pace& pace);
  void tell_wrong_port(const net::InFrame& frame);
  void tell_wrong_role(const net::InFrame& frame, const char* message);
  void deliver(PeerEvent event);

  net::KeyPair identity_;
  std::uint64_t incarnation_ = 0;
  std::atomic<std::uint64_t> cluster_{0};
  // Empty once the transport has been made.
  std::function<Result<std::unique_ptr<net::Transport>>()> make_transport_;
  std::unique_ptr<net::Transport> transport_;
  mutable std::shared_mutex transport_mutex_;  // shared while the transport is used
  mutable std::mutex mutex_;                   // guards the routes and the head
  net::PublicKey head_{};
  std::map<Room, link_user> rooms_;
  struct WorkerRoute {
    net::PublicKey from{};
    std::shared_ptr<const FrameTaker> taker;
  };
  struct EngineRoute {
    PathPeers path;
    frame_sink engine;
  };
  std::map<std::uint64_t, WorkerRoute> workers_;
  std::map<std::uint64_t, EngineRoute> engines_;
  net::KeyPace control_pace_, bulk_pace_;  // pace_mutex_ guards these and the next member
  std::int64_t told_hasty_us_ = 0;         // when a peer was told last
  std::mutex pace_mutex_;
  std::atomic<std::uint64_t> strange_{0}, hasty_{0}, foreign_{0};
  std::atomic<std::uint64_t> stale_{0}, wrong_role_{0}, unknown_{0}, undecodable_{0};
};

// Decodes the body of a frame as a Message. A frame that does not decode is counted and logged
// once, here.
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
