#pragma once

#include <caf/fwd.hpp>

#include <troupe/actors/troupe.h>

// A whole cluster in this process: a coordinator, a node and a device, without sockets.

namespace troupe::actors {

// `system`: as in Process::make. Errors: those of Device::create.
Result<Cluster> make_local_cluster(const LocalOptions& options, caf::actor_system* system);

}  // namespace troupe::actors
