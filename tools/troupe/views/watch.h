#pragma once

#include <string>

#include <troupe/actors/troupe/admin.h>

// `troupe status --watch`: shows a cluster as it is now, again and again.

namespace troupe::tools {

struct WatchOptions {
  std::string home, cluster;
  double interval_s = 1;
  bool json = false;
};
// Shows until Ctrl-C or SIGTERM: on a terminal in place, elsewhere one block after the other, with
// `json` one object per line. Connects again if the head is lost.
//   The exit status: 0 if a signal ended it, 1 if there is no cluster to begin with.
int watch_status(const WatchOptions& options);

// One block: nodes and models with what they did in the `seconds` since `before` (null: unknown).
// Lines with their ends. Pure.
std::string watch_text(const ClusterStatus& now, const ClusterStatus* before, double seconds);

}  // namespace troupe::tools
