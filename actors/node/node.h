#pragma once

#include <troupe/actors/actors.h>
#include <troupe/actors/node/node_setup.h>

// A node's actor: it enrols and joins, keeps the lease, admits peers, and loads and drops stages
// when its head says so. In the head's own process, the node's head is that process itself.

namespace troupe::actors {

node_actor spawn_node(caf::actor_system& system, NodeSetup setup);

}  // namespace troupe::actors
