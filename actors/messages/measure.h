#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/messages/deploy.h>
#include <troupe/actors/messages/outcome.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/actors/messages/types.h>
#include <troupe/model/planning/layer_cost.h>

// What layers would cost on a node, and what the connections between nodes carry, before any layer
// is placed. The head introduces the nodes to each other (kAllowPeers with the measurement's number
// as the epoch), then asks each of them.

namespace troupe::actors {

// What was measured longer ago than this is asked for again by a head, and measured again by a
// node.
constexpr std::int64_t kMeasuredFreshUs = 600'000'000;

struct Measure {
  static constexpr MessageType kType = MessageType::kMeasure;
  std::uint64_t number = 0;
  bool compute = true;  // if false, measure only the connections
  model::Manifest manifest;
  std::uint8_t kv = 0;  // kv_code
  std::uint32_t chunk_rows = 0;
  std::uint32_t hidden_bytes = 0;    // of one position
  std::vector<PeerAddress> peers;    // measure the connections to these peers
  std::vector<PeerAddress> sources;  // peers that have the model's header
  template <class A>
  void serialize(A& a) {
    a(number, compute, manifest, kv, chunk_rows, hidden_bytes, peers, sources);
  }
};
struct ConnectionMeasured {
  net::PublicKey peer{};
  double latency_us = 0;  // one way, for one position's hidden state
  double bytes_per_us = 0;
  template <class A>
  void serialize(A& a) {
    a(peer, latency_us, bytes_per_us);
  }
};
struct Measured {
  static constexpr MessageType kType = MessageType::kMeasured;
  std::uint64_t number = 0;
  Outcome outcome;  // whether the layers could be measured
  model::LayerCost cost;
  std::vector<ConnectionMeasured> connections;  // those that opened
  template <class A>
  void serialize(A& a) {
    a(number, outcome, cost, connections);
  }
};
// A frame with a payload, which the peer answers at once with a frame without one.
struct Probe {
  static constexpr MessageType kType = MessageType::kProbe;
  std::uint64_t number = 0;
  template <class A>
  void serialize(A& a) {
    a(number);
  }
};
struct ProbeAnswer {
  static constexpr MessageType kType = MessageType::kProbeAnswer;
  std::uint64_t number = 0;
  template <class A>
  void serialize(A& a) {
    a(number);
  }
};

// Client to head: how would this model be placed? The answer is kManaged with a JSON object.
struct PlanModel {
  static constexpr MessageType kType = MessageType::kPlanModel;
  std::uint64_t request = 0;
  OpenModel open;
  std::uint64_t context = 0;       // positions to keep keys and values for; 0: as many as `run`
  std::vector<std::string> nodes;  // names; empty means all nodes
  template <class A>
  void serialize(A& a) {
    a(request, open, context, nodes);
  }
};

}  // namespace troupe::actors
