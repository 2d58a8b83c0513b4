#pragma once

#include <cstdint>
#include <map>

#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/runtime/status.h>

// Decides where the layers of a deployment go if it loses a node or may use more nodes. Pure.

namespace troupe::actors {

// Places a deployment again, under a new epoch. The nodes that are left keep their places in the
// order of layers, and so most of what they have loaded; a node that holds none of the layers takes
// those of a lost one. If there are fewer nodes than before, all layers are distributed anew, even
// if explicit ranges were asked for. With `grow` every node is used, as in place_model().
//   Errors: kUnavailable (no node is left), kResourceExhausted (the nodes have too little memory;
//   the text says how much is missing). After an error the deployment is as it was.
Status place_again(ClusterState& state, std::uint64_t id, bool grow = false);

// True if the deployment has fewer stages than it was first planned for, and place_again() with
// `grow` would find more.
bool can_grow(const ClusterState& state, const Deployment& deployment);

// True if there is a node other than `node` on which the deployment could lie.
bool has_other_workers(const ClusterState& state, const net::PublicKey& node,
                       const Deployment& deployment);

// Returns the layers that each node should have on disk so that it needs to fetch nothing,
// whichever other node is lost: those that it would hold after each possible loss. If there are two
// nodes or more, every layer is then on two disks.
std::map<net::PublicKey, model::LayerRange> wanted_copies(const ClusterState& state,
                                                          std::uint64_t id);

}  // namespace troupe::actors
