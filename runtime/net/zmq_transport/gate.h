#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>

#include <troupe/runtime/net/sequence_window.h>
#include <troupe/runtime/net/zmq_transport/counters.h>
#include <troupe/runtime/net/zmq_transport/socket.h>
#include <troupe/runtime/net/zmq_transport/zap.h>

// The gate that every inbound frame passes: parts, header, checksum, role, cluster, incarnation,
// sequence. What fails is dropped, counted, and logged at most once a second for each peer.
// Transport thread only.

namespace troupe::net::zmq {

// A message's parts, without the routing id; those after the third are counted and dropped.
struct Parts {
  std::array<Message, 3> part;
  std::size_t count = 0;
  // Reads one whole message. False: nothing there.
  static bool receive(Socket& socket, Parts& parts);
  // Reads on after a first part that has more behind it.
  void receive_rest(Socket& socket, bool more);
};

// Where a message came from.
struct Source {
  PublicKey peer;
  Channel channel;
  std::optional<Role> role_unlisted;  // of a peer that we dialled; absent: it must be listed
  std::uint64_t incarnation = 0;      // that the connection has shown; 0: nothing yet
};

class Gate {
 public:
  Gate(const AllowList& allowed, AtomicCounters& counters, std::uint16_t version)
      : allowed_(allowed), counters_(counters), version_(version) {}
  void set_cluster(std::uint64_t cluster) { cluster_ = cluster; }
  std::uint64_t cluster() const { return cluster_; }
  // The frame, or nothing when it was dropped. Takes large payloads out of `parts`. When it was
  // dropped for its protocol version, `other_version` says so in words.
  std::optional<InFrame> admit(const Source& source, Parts& parts, Status* other_version);
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
};

}  // namespace troupe::net::zmq
