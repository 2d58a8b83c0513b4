#pragma once

#include <memory>

#include <troupe/actors/actors.h>
#include <troupe/actors/journal/journal.h>
#include <troupe/actors/link.h>

// The head's jobs: takes them in (committed to the journal, then acknowledged), gives their shards
// to who can map them, writes results down, and tells who asks. A shell around JobState and the
// Journal. A restarted head begins where the journal ends.

namespace troupe::actors {

struct JobsSetup {
  std::shared_ptr<Journal> journal;
  std::shared_ptr<Link> link;
  bool detached = true;  // false in tests with a scheduler of their own
};
// Told of its service_actor once that is there.
jobs_actor spawn_jobs(caf::actor_system& system, JobsSetup setup);

// Ids name jobs to people and at shells: 1 to 64 letters, digits, '.', '_' or '-'.
Status check_job_id(const std::string& id);

}  // namespace troupe::actors
