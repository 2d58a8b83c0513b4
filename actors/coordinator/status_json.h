#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/actors/coordinator/setup.h>
#include <troupe/actors/engine/asker_use.h>
#include <troupe/actors/link.h>

// The answer to `troupe status --json`. Pure.

namespace troupe::actors {

// What a deployment's engine is doing.
struct DeploymentUse {
  std::uint64_t running = 0, queued = 0;   // requests that are being answered, and those that wait
  std::uint64_t requests = 0, tokens = 0;  // since the model was loaded
  // The number of steps that may be on the path at once, and of those that are on it now.
  std::uint64_t credits = 0, credits_in_use = 0;
  // Blocks of keys and values; positions of prompts that were looked up among them, and those that
  // were found; requests that gave way to older ones.
  std::uint64_t blocks_in_use = 0, blocks_idle = 0, blocks_max = 0;
  std::uint64_t prefix_queried = 0, prefix_found = 0, preemptions = 0;
  std::uint64_t drafted = 0, accepted = 0;  // tokens that were drafted, and those that came true
  std::vector<NamedUse> askers;             // of all clients
  bool busy = false;
  // The time until it is unloaded; absent if it is busy or stays forever.
  std::optional<std::int64_t> left_s;
};
// What happened to deployments that lost a node.
struct RecoveryCounters {
  std::uint64_t replacements = 0;     // how often a deployment was placed again
  std::uint64_t replays = 0;          // requests that were computed again
  std::uint64_t replayed_tokens = 0;  // their positions that had been computed before
  std::uint64_t quarantined = 0;      // requests that ended because workers crashed on them
};

// Writes the answer for the client of this identity (Z85; "" for this process), which sees only its
// own askers, by the names that it gave them.
std::string status_json(const ClusterState& cluster, const CoordinatorSetup& setup,
                        const LinkCounters& counters,
                        const std::map<std::uint64_t, DeploymentUse>& uses,
                        const RecoveryCounters& recovery, const std::string& client);

}  // namespace troupe::actors
