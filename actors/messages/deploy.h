#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/messages/outcome.h>
#include <troupe/actors/messages/types.h>
#include <troupe/model/store/manifest.h>
#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/numerics/arithmetic_version.h>

// Placing a model: the head introduces the nodes to each other, then tells each one which layers it
// holds. An epoch names one deployment in one placement; frames of another epoch are stale.

namespace troupe::actors {

struct PeerAddress {
  net::PublicKey key{};
  std::uint8_t role = 0;  // net::Role
  std::string name;
  std::string host;  // empty if the peer cannot be dialled (a client)
  std::uint16_t port = 0;
  template <class A>
  void serialize(A& a) {
    a(key, role, name, host, port);
  }
};

// Head to node: let these peers connect to you, and let `fetchers`, and no others, fetch the parts
// of this model from you. The head waits for the acknowledgement before it tells a peer to dial,
// because a refusal is final for a ZeroMQ socket.
struct AllowPeers {
  static constexpr MessageType kType = MessageType::kAllowPeers;
  std::uint64_t epoch = 0;
  std::vector<PeerAddress> peers;
  model::Manifest manifest;  // of no model ("") if there is nothing to say about fetchers
  std::vector<net::PublicKey> fetchers;
  template <class A>
  void serialize(A& a) {
    a(epoch, peers, manifest, fetchers);
  }
};
struct PeersAllowed {
  static constexpr MessageType kType = MessageType::kPeersAllowed;
  std::uint64_t epoch = 0;
  template <class A>
  void serialize(A& a) {
    a(epoch);
  }
};
// Head to node: these keys, which the node was told to allow, are no longer allowed.
struct ForgetPeers {
  static constexpr MessageType kType = MessageType::kForgetPeers;
  std::vector<net::PublicKey> keys;
  template <class A>
  void serialize(A& a) {
    a(keys);
  }
};
// Head to client: dial these peers on the bulk channel; they will ask for the model that you
// opened. `fetchers`, and no others, may have its parts.
struct ServePeers {
  static constexpr MessageType kType = MessageType::kServePeers;
  std::uint64_t epoch = 0;
  std::vector<PeerAddress> peers;
  model::Manifest manifest;
  std::vector<net::PublicKey> fetchers;
  template <class A>
  void serialize(A& a) {
    a(epoch, peers, manifest, fetchers);
  }
};

struct LoadStage {
  static constexpr MessageType kType = MessageType::kLoadStage;
  std::uint64_t epoch = 0;
  model::Manifest manifest;
  std::uint32_t layer_begin = 0, layer_end = 0;
  net::PublicKey previous{};  // the stage before; for the first stage the head
  PeerAddress next;           // the next stage; for the last stage the head, which gets its tokens
  bool last = false;
  // The peers that hold the model's parts: those with an address are dialled, the others dial us.
  std::vector<PeerAddress> sources;
  std::uint8_t kv = 0;                            // kv_code (generate.h)
  std::uint32_t arithmetic = kArithmeticVersion;  // a node of another version refuses
  template <class A>
  void serialize(A& a) {
    a(epoch, manifest, layer_begin, layer_end, previous, next, last, sources, kv, arithmetic);
  }
};
// Head to node: keep the tensors of these layers on disk, too, so that after the death of any one
// node no other needs to fetch anything. This happens in the background, because loads go first.
struct Prefetch {
  static constexpr MessageType kType = MessageType::kPrefetch;
  model::Manifest manifest;
  std::uint32_t layer_begin = 0, layer_end = 0;
  std::vector<PeerAddress> sources;  // as in LoadStage
  template <class A>
  void serialize(A& a) {
    a(manifest, layer_begin, layer_end, sources);
  }
};
struct Prefetched {
  static constexpr MessageType kType = MessageType::kPrefetched;
  std::string model;
  std::uint32_t layer_begin = 0, layer_end = 0;
  std::uint64_t fetched_bytes = 0;
  std::uint8_t code = 0;  // if not 0, some tensors are missing and the head must ask again
  template <class A>
  void serialize(A& a) {
    a(model, layer_begin, layer_end, fetched_bytes, code);
  }
};
struct StageLoaded {
  static constexpr MessageType kType = MessageType::kStageLoaded;
  std::uint64_t epoch = 0;
  std::uint64_t weights_bytes = 0;
  std::uint64_t fetched_bytes = 0;  // bytes fetched over the network for this load
  template <class A>
  void serialize(A& a) {
    a(epoch, weights_bytes, fetched_bytes);
  }
};
// StageFailed is also sent for a loaded stage if its connection to the next one broke.
struct StageFailed {
  static constexpr MessageType kType = MessageType::kStageFailed;
  // kStage blames the stage itself; kNext the next one, which cannot be reached from here; kNobody
  // says that the connection is open again, but the frames on it were lost.
  enum Blame : std::uint8_t { kStage = 0, kNext = 1, kNobody = 2 };
  std::uint64_t epoch = 0;
  Outcome outcome;
  std::uint8_t blame = kStage;
  template <class A>
  void serialize(A& a) {
    a(epoch, outcome, blame);
  }
};
// With `keep`, the stage's steps are over, but another epoch of this model follows and takes the
// weights that it needs. Without it, every stage of the model that was kept is dropped, too.
struct UnloadStage {
  static constexpr MessageType kType = MessageType::kUnloadStage;
  std::uint64_t epoch = 0;
  bool keep = false;
  template <class A>
  void serialize(A& a) {
    a(epoch, keep);
  }
};

}  // namespace troupe::actors
