#pragma once

#include <troupe/actors/actors.h>
#include <troupe/actors/troupe/daemon.h>

// What the facade's other files need from a Daemon.

namespace troupe::actors {

// Returns the actor that maps and merges shards for this daemon's program.
task_actor tasks_of(Daemon& daemon);

}  // namespace troupe::actors
