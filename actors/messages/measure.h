#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/messages/deploy.h>
#include <troupe/actors/messages/outcome.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/actors/messages/types.h>
#include <troupe/model/planning/layer_cost.h>

// What layers would cost on a node, and what the ways between nodes carry, before any layer lies
// there. The head lets the nodes know each other (kAllowPeers with the measurement's number for an
// epoch), then asks each.

namespace troupe::actors {

struct Measure {
  static constexpr MessageType kType = MessageType::kMeasure;
  std::uint64_t number = 0;
  bool compute = true;  // false: the ways only
  model::Manifest manifest;
  std::uint8_t kv = 0;  // kv_code
  std::uint32_t chunk_rows = 0;
  std::uint32_t hidden_bytes = 0;    // of one position
  std::vector<PeerAddress> peers;    // the ways to these
  std::vector<PeerAddress> sources;  // who has the model's header
  template <class A>
  void serialize(A& a) {
    a(number, compute, manifest, kv, chunk_rows, hidden_bytes, peers, sources);
  }
};
struct WayMeasured {
  net::PublicKey peer{};
  double latency_us = 0;  // of one position's hidden state
  double bytes_per_us = 0;
  template <class A>
  void serialize(A& a) {
    a(peer, latency_us, bytes_per_us);
  }
};
struct Measured {
  static constexpr MessageType kType = MessageType::kMeasured;
  std::uint64_t number = 0;
  Outcome outcome;  // of measuring the layers
  model::LayerCost cost;
  std::vector<WayMeasured> ways;  // those that opened
  template <class A>
  void serialize(A& a) {
    a(number, outcome, cost, ways);
  }
};
// A payload to be answered at once by a frame without one.
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

// Client to head: what would become of this model. Answered by kManaged, a JSON object.
struct PlanModel {
  static constexpr MessageType kType = MessageType::kPlanModel;
  std::uint64_t request = 0;
  OpenModel open;
  std::uint64_t context = 0;       // positions to keep keys and values for; 0: as `run` does
  std::vector<std::string> nodes;  // names; empty: all
  template <class A>
  void serialize(A& a) {
    a(request, open, context, nodes);
  }
};

}  // namespace troupe::actors
