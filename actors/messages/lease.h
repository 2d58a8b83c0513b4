#pragma once

#include <cstdint>

// How often nodes send heartbeats, and after how long a silent node counts as dead.

namespace troupe::actors {

constexpr std::int64_t kHeartbeatUs = 200'000;
constexpr std::int64_t kRestingHeartbeatUs = 400'000;  // for a node that holds no layers
// A node that has been silent for this long is suspected, then considered dead.
constexpr std::int64_t kSuspectUs = 1'000'000;
constexpr std::int64_t kDeadUs = 2'000'000;

}  // namespace troupe::actors
