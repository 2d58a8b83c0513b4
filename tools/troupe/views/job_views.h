#pragma once

#include <string>

#include <troupe/actors/troupe.h>

// Jobs as the command shows them: what `submit`, `jobs`, `wait`, `logs` and `cancel` share.

namespace troupe::tools {

// Waits until the job is over, says how far it is on stderr, then gives its result: to the file
// `output`, or to stdout. The exit status: 0 done, 1 failed or cancelled, 130 interrupted.
int wait_for_job(Cluster& cluster, const std::string& id, const std::string& output, bool json);

}  // namespace troupe::tools
