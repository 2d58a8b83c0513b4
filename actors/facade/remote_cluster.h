#pragma once

#include <caf/fwd.hpp>

#include <troupe/actors/troupe.h>

// Connects to the head of a cluster elsewhere.

namespace troupe::actors {

// `system`: as in Process::make. Errors: as Cluster::connect.
Result<Cluster> make_client_cluster(const ConnectOptions& options, caf::actor_system* system);

}  // namespace troupe::actors
