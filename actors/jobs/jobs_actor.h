#pragma once

#include <troupe/actors/actors.h>
#include <troupe/actors/jobs/jobs_setup.h>

// The head's jobs actor. It receives jobs (it commits them to the journal, then acknowledges them),
// gives their shards to workers that can map them, records results, and answers clients. It is a
// shell around JobState and the Journal. A restarted head continues from where the journal ends.

namespace troupe::actors {

// Spawns the actor, which waits for a service_actor (service_atom) before it begins.
jobs_actor spawn_jobs(caf::actor_system& system, JobsSetup setup);

}  // namespace troupe::actors
