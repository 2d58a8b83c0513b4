#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>
#include <troupe/runtime/wire/frame.h>

// Frames between processes. A peer is its authenticated public key. Three channels, so that a
// tensor never delays a heartbeat: control (PORT), activations (PORT + 1), bulk (PORT + 2).
// Used by actors/link only. `send` and the other calls may come from any thread and never block;
// handlers run on the transport's own thread and must only hand over (they must not block).

namespace troupe::net {

enum class Channel : std::uint8_t { kControl = 0, kActivations = 1, kBulk = 2 };
constexpr int kChannels = 3;
const char* channel_name(Channel channel);

// Bytes that are shared, not copied, on their way to the socket. `keep` owns `data`.
struct Payload {
  std::shared_ptr<const void> keep;
  std::span<const std::byte> data;
};

struct OutFrame {
  wire::Header header;  // type, cluster, epoch, step and attempt are set; the rest is filled in
  std::vector<std::byte> body;
  Payload payload;
  // Several processes may share a key (machines that enrol with one token). If not 0, the frame
  // goes only to the process of this incarnation that connected to us; if 0, to the one that spoke
  // last.
  std::uint64_t to_incarnation = 0;
};

struct InFrame {
  PublicKey peer;  // authenticated, not claimed
  // The role of that key, as allowed now. A peer that was dialled and is not listed has kHead on
  // the control channel, and kNode on the other channels.
  Role role;
  Channel channel;
  wire::Header header;
  std::vector<std::byte> body;
  // For a frame on the control channel, the address from which the peer is connected; "" for a peer
  // that we dialled.
  std::string address = {};
  Payload payload;  // aligned to 64 bytes if it has fewer than 64 KiB
};

struct Endpoint {
  std::string host;        // a name or a literal address without brackets
  std::uint16_t port = 0;  // of the control channel
};
// Parses "127.0.0.1:7700", "[::1]:7700" or "host:7700".
//   Errors: kInvalidArgument (says what is wrong).
Result<Endpoint> parse_endpoint(const std::string& text);
std::string to_string(const Endpoint& endpoint);

struct Handlers {
  std::function<void(InFrame)> on_frame;
  // A dialled peer's channel finished its handshake, could not be opened, or was lost. `why` is one
  // sentence for a person. After a failed attempt or a loss the transport tries again (after 50 ms,
  // doubling to 2 s), except after a refusal of our key (kPermissionDenied), which is final. From
  // the third attempt on, kPermissionDenied can also mean that the peer does not own its key.
  // kFailedPrecondition is final, too: the peer speaks another protocol version, and the text names
  // both versions.
  std::function<void(const PublicKey&, Channel)> on_connected;
  std::function<void(const PublicKey&, Channel, const Status& why)> on_disconnected;
  // A peer that had connected to us is gone: the last connection of its key on this channel closed.
  std::function<void(const PublicKey&, Channel)> on_peer_left;
};

struct Counters {
  struct Flow {
    std::uint64_t frames = 0, bytes = 0;  // of whole frames, with their headers
  };
  std::array<Flow, kChannels> in, out;  // by channel
  std::uint64_t frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
  std::uint64_t rejected_header = 0, rejected_checksum = 0, rejected_sequence = 0;
  std::uint64_t rejected_cluster = 0;
  std::uint64_t rejected_version = 0;  // frames of another protocol version
  std::uint64_t rejected_revoked = 0;  // frames of a key that is no longer allowed
  std::uint64_t refused_keys = 0;      // connections that ZAP refused
  std::uint64_t closed_unproven = 0;   // connections that ended before they had proved a key
  std::uint64_t closed_silent = 0;  // connections that we closed because they sent no valid frame
  std::uint64_t paced = 0;    // handshakes that had to wait, because there were too many of one key
  std::uint64_t reached = 0;  // our dials that a listener accepted, whatever came of them
  // Frames that were not sent because the queue was full. Their senders got an error.
  std::uint64_t send_overflow = 0;
  std::uint64_t activation_bytes_out = 0, bulk_bytes_out = 0;  // payload bytes
};

struct TransportOptions {
  KeyPair identity;
  std::uint64_t cluster = 0;       // frames of another cluster are dropped and counted
  std::uint64_t incarnation = 0;   // one for each transport ever made; 0: drawn at random
  std::optional<Endpoint> listen;  // binds port, port + 1 and port + 2; absent in a client
  // The keys that are allowed before the first bind, so that peers that reconnect at once are not
  // refused.
  std::vector<std::pair<PublicKey, Role>> allowed;
  std::optional<PublicKey>
      own_door;  // one of `allowed`: the door key of the user who runs this process
  std::uint16_t version = wire::kProtocolVersion;  // tests have others
  int handshake_timeout_ms = 3000;
  std::size_t queue_frames = 4096;  // outgoing frames that may wait on each connection
  // How long the thread polls for more work before it sleeps. 0 is fastest if cores are shared,
  // because an I/O thread needs the core that would spin.
  int spin_us = 0;
};

class Transport {
 public:
  // Closes sockets and joins the thread; no handler runs afterwards.
  virtual ~Transport() = default;
  // Lets a key connect to us. The domain is enforced before the first bind, so unknown keys are
  // refused.
  virtual void allow(const PublicKey& key, Role role) = 0;
  // Revokes a key: its frames are dropped from now on, and the connections that we dialled to it
  // are closed.
  virtual void revoke(const PublicKey& key) = 0;
  // Dials one channel of a listening peer, whose public key must be `peer`. With `as`, uses that
  // key pair instead of our identity (enrolment). Reconnects with back-off until disconnect(),
  // except after a refusal. If the peer is dialled already, this only ends the pause before the
  // next attempt.
  virtual void dial(const PublicKey& peer, const Endpoint& endpoint, Channel channel,
                    const std::optional<KeyPair>& as = std::nullopt) = 0;
  // Closes the connections that we dialled to the peer; no handler is told. Waiting frames are
  // dropped, also when the transport is destroyed: a sender that must know that a frame arrived
  // waits for an answer.
  virtual void disconnect(const PublicKey& peer) = 0;
  // Queues a frame for a peer that we dialled, or that has connected to us and sent a frame. Frames
  // wait for the first handshake of a dial, and are lost with the attempt or the connection.
  //   Errors: kUnavailable (no such connection), kResourceExhausted (queue full), kInvalidArgument
  //   (body or payload over its bound).
  virtual Status send(const PublicKey& peer, Channel channel, OutFrame frame) = 0;
  virtual void set_cluster(std::uint64_t cluster) = 0;  // learnt at enrolment
  virtual Counters counters() const = 0;
  // Returns the control endpoint that was bound. (There is no port 0 that lets the system choose.)
  virtual std::optional<Endpoint> bound() const = 0;
};

// Makes a transport over ZeroMQ, with CURVE and ZAP.
//   Errors: kAlreadyExists (names the port in use).
Result<std::unique_ptr<Transport>> make_zmq_transport(const TransportOptions& options,
                                                      Handlers handlers);

}  // namespace troupe::net
