#pragma once

#include <troupe/actors/troupe.h>
#include <troupe/tools/troupe/daemon/settings.h>

// From what `troupe start` was told to what it starts.

namespace troupe::tools {

// What depends on the home and the machine (which cluster, which address) is looked up, and
// `settings` then shows what came of it.
//   Errors: kInvalidArgument and kBadData, with what was given and where.
Result<DaemonOptions> daemon_options(Settings& settings);

}  // namespace troupe::tools
