#pragma once

#include <string>

#include <troupe/actors/troupe.h>

// Shows jobs to people: what `submit`, `jobs`, `wait`, `logs` and `cancel` share.

namespace troupe::tools {

// Waits until the job is over, reports its progress on stderr, then writes its result to the file
// `output`, or to stdout. Returns the exit status: 0 if the job is done, 1 if it failed or was
// cancelled, 130 if the wait was interrupted.
int wait_for_job(Cluster& cluster, const std::string& id, const std::string& output, bool json);

}  // namespace troupe::tools
