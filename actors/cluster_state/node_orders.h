#pragma once

#include <map>
#include <string>
#include <vector>

#include <troupe/actors/cluster_state/deployments.h>
#include <troupe/actors/cluster_state/members.h>

// The order in which nodes last held a model's layers. Later placements of the model keep the
// order, so that nodes find their layers on their disks. Pure. Part of ClusterState.

namespace troupe::actors {

class NodeOrders {
 public:
  // Sets the order of a model that was asked for with these ranges, as an earlier run of this head
  // recorded it.
  void remember(const std::string& model, const std::vector<model::LayerRange>& asked,
                std::vector<net::PublicKey> nodes);
  // Records the order of a deployment, unless nodes are missing from it.
  void remember(const Deployment& deployment);
  // Sorts the nodes into the order that is remembered for the spec; the other nodes follow as they
  // were.
  void sort(Workers& workers, const DeploymentSpec& spec) const;

 private:
  std::map<std::string, std::vector<net::PublicKey>> orders_;  // by model and ranges
};

}  // namespace troupe::actors
