#pragma once

#include <troupe/actors/actors.h>
#include <troupe/runtime/status.h>

// Stands where a client's connection to a head would stand, in a program that has none.

namespace troupe::actors {

// Refuses everything that it is asked, each time with `why`; only to a question for the status,
// which has no room for a reason, it gives no answer. Lives until it is told to exit.
service_actor spawn_absent_client(caf::actor_system& system, const Status& why);

}  // namespace troupe::actors
