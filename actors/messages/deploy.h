#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/messages/outcome.h>
#include <troupe/actors/messages/types.h>
#include <troupe/model/store/manifest.h>
#include <troupe/runtime/net/keys.h>

// Placing a model: the head makes the nodes know each other, then tells each which layers it holds.
// An epoch names one deployment in one placement; frames of another epoch are stale.

namespace troupe::actors {

struct PeerAddress {
  net::PublicKey key{};
  std::uint8_t role = 0;  // net::Role
  std::string name;
  std::string host;  // "" when it cannot be dialled (a client)
  std::uint16_t port = 0;
  template <class A>
  void serialize(A& a) {
    a(key, role, name, host, port);
  }
};

// Head to node: let these connect to you. Acknowledged before anybody is told to dial, because a
// refusal is final for a ZeroMQ socket.
struct AllowPeers {
  static constexpr MessageType kType = MessageType::kAllowPeers;
  std::uint64_t epoch = 0;
  std::vector<PeerAddress> peers;
  template <class A>
  void serialize(A& a) {
    a(epoch, peers);
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
// Head to node: these keys, which it was told to allow, are allowed no more.
struct ForgetPeers {
  static constexpr MessageType kType = MessageType::kForgetPeers;
  std::vector<net::PublicKey> keys;
  template <class A>
  void serialize(A& a) {
    a(keys);
  }
};
// Head to client: dial these on the bulk channel, they will ask for the model that you opened.
struct ServePeers {
  static constexpr MessageType kType = MessageType::kServePeers;
  std::uint64_t epoch = 0;
  std::vector<PeerAddress> peers;
  template <class A>
  void serialize(A& a) {
    a(epoch, peers);
  }
};

struct LoadStage {
  static constexpr MessageType kType = MessageType::kLoadStage;
  std::uint64_t epoch = 0;
  model::Manifest manifest;
  std::uint32_t layer_begin = 0, layer_end = 0;
  PeerAddress next;  // the next stage, or the head for the last stage's tokens
  bool last = false;
  // Who holds the model's parts: those with an address are dialled, the others dial.
  std::vector<PeerAddress> sources;
  std::uint8_t kv = 0;  // kv_code (generate.h)
  template <class A>
  void serialize(A& a) {
    a(epoch, manifest, layer_begin, layer_end, next, last, sources, kv);
  }
};
// Head to node: have the tensors of these layers on disk, too, so that whoever dies, nobody needs
// to fetch anything. In the background: loads go first.
struct Prefetch {
  static constexpr MessageType kType = MessageType::kPrefetch;
  model::Manifest manifest;
  std::uint32_t layer_begin = 0, layer_end = 0;
  std::vector<PeerAddress> sources;  // as of LoadStage
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
  std::uint8_t code = 0;  // not 0: some are missing, the head is to ask again
  template <class A>
  void serialize(A& a) {
    a(model, layer_begin, layer_end, fetched_bytes, code);
  }
};
struct StageLoaded {
  static constexpr MessageType kType = MessageType::kStageLoaded;
  std::uint64_t epoch = 0;
  std::uint64_t weights_bytes = 0;
  std::uint64_t fetched_bytes = 0;  // over the network, for this load
  template <class A>
  void serialize(A& a) {
    a(epoch, weights_bytes, fetched_bytes);
  }
};
// Also said of a stage that was loaded, when its way to the next one broke.
struct StageFailed {
  static constexpr MessageType kType = MessageType::kStageFailed;
  // The stage itself; the next one, which cannot be reached from here; or nobody: the way is open
  // again, but what was on it is lost.
  enum Blame : std::uint8_t { kStage = 0, kNext = 1, kNobody = 2 };
  std::uint64_t epoch = 0;
  Outcome outcome;
  std::uint8_t blame = kStage;
  template <class A>
  void serialize(A& a) {
    a(epoch, outcome, blame);
  }
};
// `keep`: its steps are over, but another epoch of this model follows, and takes from its weights
// what it needs. Without it every stage of the model that was kept goes, too.
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
