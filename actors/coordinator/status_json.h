#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/actors/coordinator/setup.h>
#include <troupe/actors/link.h>

// The answer to `troupe status --json`. Pure.

namespace troupe::actors {

// What a deployment's engine does.
struct DeploymentUse {
  std::uint64_t running = 0, queued = 0;          // requests: being answered; waiting
  std::uint64_t requests = 0, tokens = 0;         // since it was loaded
  std::uint64_t credits = 0, credits_in_use = 0;  // steps on its path
  // Blocks of keys and values; positions of prompts that were looked up among them, and found;
  // requests that gave way to older ones.
  std::uint64_t blocks_in_use = 0, blocks_idle = 0, blocks_max = 0;
  std::uint64_t prefix_queried = 0, prefix_found = 0, preemptions = 0;
  bool busy = false;
  std::optional<std::int64_t> left_s;  // until it is unloaded; absent: busy, or forever
};
// What became of deployments that lost a node.
struct RecoveryCounters {
  std::uint64_t replacements = 0;     // how often a deployment was placed again
  std::uint64_t replays = 0;          // requests that were computed again
  std::uint64_t replayed_tokens = 0;  // their positions that had been computed before
  std::uint64_t quarantined = 0;      // requests that ended because workers crashed on them
};

std::string status_json(const ClusterState& cluster, const CoordinatorSetup& setup,
                        const LinkCounters& counters,
                        const std::map<std::uint64_t, DeploymentUse>& uses,
                        const RecoveryCounters& recovery);

}  // namespace troupe::actors
