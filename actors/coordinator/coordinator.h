#pragma once

#include <troupe/actors/actors.h>
#include <troupe/actors/coordinator/setup.h>

// The head's actor: it admits keys, keeps leases, places models on nodes, starts engines and
// answers clients. It decodes, calls ClusterState, and sends. Tokens do not pass through it on
// their path between stages.

namespace troupe::actors {

coordinator_actor spawn_coordinator(caf::actor_system& system, CoordinatorSetup setup);

}  // namespace troupe::actors
