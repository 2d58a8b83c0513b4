#pragma once

#include <troupe/actors/actors.h>
#include <troupe/runtime/status.h>

// Takes the place of a connection to a head in a program that has none.

namespace troupe::actors {

// Refuses every request with `why`. A question for the status has no room for a reason, so it gets
// an empty answer. Lives until it is told to exit.
service_actor spawn_absent_client(caf::actor_system& system, const Status& why);

}  // namespace troupe::actors
