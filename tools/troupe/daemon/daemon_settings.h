#pragma once

#include <troupe/actors/troupe.h>
#include <troupe/tools/troupe/daemon/settings.h>

// Turns the settings of `troupe start` into the options of a daemon.

namespace troupe::tools {

// Looks up what depends on the home and the machine (which cluster, which address), and records the
// results in `settings`.
//   Errors: kInvalidArgument and kBadData; the text says what was given, and where.
Result<DaemonOptions> daemon_options(Settings& settings);

}  // namespace troupe::tools
