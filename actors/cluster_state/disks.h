#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <troupe/actors/cluster_state/members.h>
#include <troupe/model/config/layer_range.h>
#include <troupe/runtime/net/keys.h>

// Which layers of which models lie on the disks of which nodes. Pure. Part of ClusterState.

namespace troupe::actors {

class Disks {
 public:
  void add(const std::string& model, const net::PublicKey& node, model::LayerRange layers);
  // Returns the nodes, except `except`, that are alive and have at least one of these layers on
  // disk.
  std::vector<net::PublicKey> holders(const Members& members, const std::string& model,
                                      model::LayerRange layers, const net::PublicKey& except) const;
  // Returns the minimum number of live nodes that have any one of these layers on disk.
  std::size_t copies_min(const Members& members, const std::string& model,
                         model::LayerRange layers) const;

 private:
  // The layers that each node has on its disk, by model and node.
  std::map<std::string, std::map<net::PublicKey, std::set<std::size_t>>> layers_;
};

}  // namespace troupe::actors
