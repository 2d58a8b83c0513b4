#pragma once

#include <troupe/actors/actors.h>
#include <troupe/actors/jobs/jobs_setup.h>

// The head's jobs actor. It takes jobs in (commits them to the journal, then acknowledges), gives
// their shards to workers that can map them, records results, and answers clients. It is a shell
// around JobState and the Journal. A restarted head goes on where the journal ends.

namespace troupe::actors {

// It waits for a service_actor before it begins (service_atom).
jobs_actor spawn_jobs(caf::actor_system& system, JobsSetup setup);

}  // namespace troupe::actors
