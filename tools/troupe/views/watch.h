#pragma once

#include <string>

#include <troupe/actors/troupe/admin.h>

// `troupe status --watch`: shows the present state of a cluster, repeatedly.

namespace troupe::tools {

struct WatchOptions {
  std::string home, cluster;
  double interval_s = 1;
  bool json = false;
};
// Shows the cluster until Ctrl-C or SIGTERM: in place on a terminal, elsewhere one block after the
// other, and with `json` one object on each line. Connects again if the head is lost.
//   Returns the exit status: 0 if a signal ended it, 1 if there was no cluster at the beginning.
int watch_status(const WatchOptions& options);

// Makes one block: nodes and models with what they did in the `seconds` since `before` (null if
// unknown). Each line ends in a newline. Pure.
std::string watch_text(const ClusterStatus& now, const ClusterStatus* before, double seconds);

}  // namespace troupe::tools
