#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/messages/outcome.h>
#include <troupe/actors/messages/types.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/numerics/arithmetic_version.h>

// Joining, staying and leaving. A node or client dials its head's control channel and sends Hello,
// again every half second, until the head answers Welcome or Refused. Then a heartbeat every 200 ms
// keeps the lease.

namespace troupe::actors {

// Enrolment. The connection uses a token's key pair or a client's identity, which may send nothing
// else. Made and checked by enrolment.h.
struct Enrol {
  static constexpr MessageType kType = MessageType::kEnrol;
  net::PublicKey key{};  // the newcomer's own
  // The identity of a client, which lasts, while `key` is that of one connection. A node's key is
  // its identity.
  net::PublicKey identity{};
  std::uint8_t role = 0;  // net::Role: kNode or kClient
  std::string name;
  std::vector<std::uint8_t> key_proof,
      identity_proof;  // they prove that the newcomer has the secret halves
  template <class A>
  void serialize(A& a) {
    a(key, identity, role, name, key_proof, identity_proof);
  }
};
// Newcomers with one token all connect with the key of that token. So the answer may reach another
// of them, and each checks whether it names its own key.
struct Enrolled {
  static constexpr MessageType kType = MessageType::kEnrolled;
  net::PublicKey key{};
  std::uint64_t cluster = 0;
  std::string cluster_name;
  template <class A>
  void serialize(A& a) {
    a(key, cluster, cluster_name);
  }
};

struct Hello {
  static constexpr MessageType kType = MessageType::kHello;
  std::uint8_t role = 0;  // net::Role of the sender; must be the role of its key
  std::string name;       // the name that it asks for; the head makes it unique
  std::string host;       // where others dial this node; empty for a client
  std::uint16_t port = 0;
  std::uint32_t threads = 0;
  std::uint64_t memory_bytes = 0;
  // Nodes that name the same pool offer the same memory, each all of it: they are the nodes of one
  // machine that were not told how much is theirs. Empty if the memory is this node's alone.
  std::string memory_pool;
  std::string isa;
  // Counts how often this process began to join. A node drops its stages before it begins, and the
  // head forgets what the node held. A Hello with the number of the last one merely repeats it.
  std::uint32_t greeting = 0;
  // The version of the sender's arithmetic; the head admits only nodes that compute by the same
  // version.
  std::uint32_t arithmetic = kArithmeticVersion;
  std::string program;  // the version of Troupe that it runs, such as "0.1.0", for people
  template <class A>
  void serialize(A& a) {
    a(role, name, host, port, threads, memory_bytes, memory_pool, isa, greeting, arithmetic,
      program);
  }
};
struct Welcome {
  static constexpr MessageType kType = MessageType::kWelcome;
  std::string name;  // the name that the head gave
  std::string cluster_name;
  std::uint32_t heartbeat_ms = 0;
  std::uint32_t lease_ms = 0;  // a node without a heartbeat for this long is dead
  std::uint32_t greeting = 0;  // of the Hello that this answers
  template <class A>
  void serialize(A& a) {
    a(name, cluster_name, heartbeat_ms, lease_ms, greeting);
  }
};
// A Hello or Heartbeat was not accepted. With `rejoin`, the node must start over with a Hello.
struct Refused {
  static constexpr MessageType kType = MessageType::kRefused;
  Outcome outcome;
  bool rejoin = false;
  template <class A>
  void serialize(A& a) {
    a(outcome, rejoin);
  }
};

// What a node holds and has done; every heartbeat carries it, and `status` shows it.
struct NodeStats {
  std::uint64_t weights_bytes = 0, kv_bytes = 0;
  std::uint64_t hidden_bytes_out = 0;  // hidden states sent to the next stage
  std::uint64_t positions_out = 0;     // the number of positions of these
  std::uint64_t steps = 0, positions = 0;
  std::uint64_t bulk_bytes_in = 0;  // weights fetched
  std::uint64_t stale_frames = 0, refused_frames = 0;
  std::uint64_t resident_bytes_max = 0;  // peak resident memory of the node's process
  std::uint64_t frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
  std::uint64_t damaged_frames = 0;  // refused frames whose header or checksum is damaged
  std::uint64_t refused_peers = 0;   // connections whose key is not allowed
  template <class A>
  void serialize(A& a) {
    a(weights_bytes, kv_bytes, hidden_bytes_out, positions_out, steps, positions, bulk_bytes_in,
      stale_frames, refused_frames, resident_bytes_max, frames_in, frames_out, bytes_in, bytes_out,
      damaged_frames, refused_peers);
  }
};
struct Heartbeat {
  static constexpr MessageType kType = MessageType::kHeartbeat;
  std::uint64_t count = 0;
  NodeStats stats;
  // The epochs whose stages the node holds. The head answers those that are over with UnloadStage.
  std::vector<std::uint64_t> epochs;
  std::int64_t unix_ms = 0;           // the node's clock
  std::vector<std::string> troubles;  // of its machine, each a sentence for people
  template <class A>
  void serialize(A& a) {
    a(count, stats, epochs, unix_ms, troubles);
  }
};
struct HeartbeatAck {
  static constexpr MessageType kType = MessageType::kHeartbeatAck;
  std::uint64_t count = 0;
  template <class A>
  void serialize(A& a) {
    a(count);
  }
};
struct Leave {
  static constexpr MessageType kType = MessageType::kLeave;
  std::string why;
  template <class A>
  void serialize(A& a) {
    a(why);
  }
};
struct StopDaemon {
  static constexpr MessageType kType = MessageType::kStopDaemon;
  std::string why;
  template <class A>
  void serialize(A& a) {
    a(why);
  }
};

}  // namespace troupe::actors
