#pragma once

#include <troupe/actors/actors.h>
#include <troupe/actors/coordinator/setup.h>

// The head's actor: it admits keys, keeps leases, places models on nodes, starts engines and
// answers clients. It decodes a message, calls ClusterState, and sends the result. What stages send
// each other does not pass through it.

namespace troupe::actors {

coordinator_actor spawn_coordinator(caf::actor_system& system, CoordinatorSetup setup);

}  // namespace troupe::actors
