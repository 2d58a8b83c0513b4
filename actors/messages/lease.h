#pragma once

#include <cstdint>

// How often nodes say that they are alive, and how long a head believes it.

namespace troupe::actors {

constexpr std::int64_t kHeartbeatUs = 200'000;
constexpr std::int64_t kRestingHeartbeatUs = 400'000;  // of a node that holds no layers
// A node that has been silent for this long is suspected, and then taken for dead.
constexpr std::int64_t kSuspectUs = 1'000'000;
constexpr std::int64_t kDeadUs = 2'000'000;

}  // namespace troupe::actors
