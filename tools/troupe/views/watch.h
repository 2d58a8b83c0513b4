#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include <troupe/actors/troupe.h>

// `troupe status --watch`: a cluster as it is now, again and again.

namespace troupe::tools {

struct WatchOptions {
  std::string home, cluster;
  double interval_s = 1;
  bool json = false;
};
// Shows until Ctrl-C or SIGTERM: on a terminal in place, elsewhere as one block after the other,
// with `json` one object a line. A head that is lost is looked for again.
//   The exit status: 0 when it was ended, 1 when there is no cluster to begin with.
int watch_status(const WatchOptions& options);

// One block: nodes and models with what they did in the `seconds` since `before` (an object without
// members: nothing is known of before). Lines with their ends. Pure.
std::string watch_text(const nlohmann::json& now, const nlohmann::json& before, double seconds);

}  // namespace troupe::tools
