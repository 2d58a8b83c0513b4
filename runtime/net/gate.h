#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <troupe/runtime/net/allow_list.h>
#include <troupe/runtime/net/counters.h>
#include <troupe/runtime/net/sequence_window.h>
#include <troupe/runtime/net/transport.h>

// The gate that every inbound frame passes. It checks parts, header, checksum, role, cluster,
// incarnation and sequence number. A frame that fails is dropped and counted, and logged at most
// once a second for each peer. Every transport has one gate, and uses it only on its own thread.

namespace troupe::net {

// One message as it came over the wire: up to three parts, of which the later ones may be absent.
struct RawFrame {
  std::size_t parts = 0;  // the number that came, even if more than three
  std::span<const std::byte> header, body, payload;
};

std::uint64_t body_bytes_max(Channel channel);
std::uint64_t payload_bytes_max(Channel channel);

// The sender of a message.
struct Source {
  PublicKey peer;
  Channel channel;
  // The role of a peer that we dialled; if absent, the peer must be listed.
  std::optional<Role> role_unlisted;
  std::uint64_t incarnation = 0;  // that the connection has shown; 0 if none yet
};

class Gate {
 public:
  Gate(const AllowList& allowed, AtomicCounters& counters, std::uint16_t version)
      : allowed_(allowed), counters_(counters), version_(version) {}
  void set_cluster(std::uint64_t cluster) { cluster_ = cluster; }
  std::uint64_t cluster() const { return cluster_; }
  // Returns the frame without its payload, which the caller takes, or nothing if the frame is
  // dropped. If it is dropped because of its protocol version, `other_version` gets a sentence that
  // says so.
  std::optional<InFrame> admit(const Source& source, const RawFrame& raw, Status* other_version);
  // Called when a key was revoked. The sequence numbers that were seen of it are kept for a while,
  // because the key may be allowed again, and its frames must not be taken twice then. Only the
  // most recently revoked keys are kept.
  void forget(const PublicKey& peer);
  void reject(AtomicCounters::Counter& counter, const PublicKey& peer, const std::string& why);

 private:
  bool new_sequence(const PublicKey& peer, const wire::Header& header, Channel channel);

  struct Sender {
    std::uint64_t incarnation = 0;
    std::uint64_t used = 0;
    SequenceWindow window;
  };
  struct PeerState {
    std::array<std::vector<Sender>, kChannels> senders;
    std::int64_t logged_ms = -1000;
  };
  const AllowList& allowed_;
  AtomicCounters& counters_;
  const std::uint16_t version_;
  std::uint64_t cluster_ = 0;
  std::uint64_t uses_ = 0;
  std::unordered_map<PublicKey, PeerState, KeyHash> peers_;
  std::deque<PublicKey> forgotten_;  // in the order in which they were revoked
};

}  // namespace troupe::net
