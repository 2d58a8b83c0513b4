#pragma once

#include <cstdint>
#include <map>

#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/runtime/status.h>

// Where the layers of a deployment go when it loses a node or may use more of them. Pure.

namespace troupe::actors {

// Places a deployment again, under a new epoch. The nodes that are left keep their places in the
// order of layers, so that they keep most of what they have loaded; a node that holds none of it
// takes the layers of a lost one. If there are fewer nodes than before, all layers are shared out
// anew, even if explicit ranges were asked for. With `grow` every node is used, as in
// place_model().
//   Errors: kUnavailable (no node is left), kResourceExhausted (the nodes have too little memory:
//   how much is missing); the deployment then stays as it was.
Status place_again(ClusterState& state, std::uint64_t id, bool grow = false);

// The deployment has fewer stages than it was first planned for, and place_again() with `grow`
// would find more.
bool can_grow(const ClusterState& state, const Deployment& deployment);

// There is a node other than `node` that the deployment could lie on.
bool has_other_workers(const ClusterState& state, const net::PublicKey& node,
                       const Deployment& deployment);

// The layers that each node should have on disk so that it needs to fetch nothing, whichever other
// node is lost: those that it would hold after each loss. Every layer is then on two disks, if
// there are two nodes.
std::map<net::PublicKey, model::LayerRange> wanted_copies(const ClusterState& state,
                                                          std::uint64_t id);

}  // namespace troupe::actors
