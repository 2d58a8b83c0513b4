#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include <troupe/actors/cluster_state/members.h>
#include <troupe/model/planning/placement.h>
#include <troupe/runtime/net/keys.h>

// What was measured: the cost of a model's layer on a node, and the cost of a connection between
// two nodes. Pure. Part of ClusterState.

namespace troupe::actors {

class Costs {
 public:
  // Records a node's costs. Values that cannot be a measurement are ignored: a node that reports
  // nonsense must not spoil a placement.
  void set_layers(const std::string& model, const net::PublicKey& node,
                  const model::LayerCost& cost, std::int64_t now_us);
  void set_link(const net::PublicKey& from, const net::PublicKey& to, const model::LinkCost& cost);
  // Forgets what was measured on a node that joined again, because it may be another machine.
  void forget(const net::PublicKey& node);

  // True if the node's cost of this model's layers was measured at `since_us` or later.
  bool measured_since(const std::string& model, const net::PublicKey& node,
                      std::int64_t since_us) const;
  // Returns the costs of these nodes, and of the connections between them and the engine, which
  // runs on `head`. If the costs of one of the nodes are not known, the result has none.
  model::PlanNodes plan_nodes(const Workers& workers, const std::string& model,
                              const net::PublicKey& head) const;

 private:
  struct Measured {
    model::LayerCost layers;
    std::int64_t at_us = 0;
  };
  std::map<std::string, std::map<net::PublicKey, Measured>> layers_;  // by model and node
  std::map<std::pair<net::PublicKey, net::PublicKey>, model::LinkCost> links_;
};

}  // namespace troupe::actors
