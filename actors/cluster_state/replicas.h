#pragma once

#include <cstdint>
#include <vector>

#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/runtime/status.h>

// Places and compares several deployments of one model. Pure.

namespace troupe::actors {

// Places one more replica of a deployment on nodes that none of its replicas lies on, and returns
// its id.
//   Errors: kUnavailable (no such node is left, or fewer than the split that was asked for needs,
//   or the prediction says that streams would gain too little), and as place_model().
Result<std::uint64_t> place_replica(ClusterState& state, std::uint64_t id);

// Returns how fast streams go through each of these deployments, to be compared only with each
// other: the predicted tokens per second, or the number of threads if some node has not been
// measured.
std::vector<double> stream_speeds(const ClusterState& state, const std::vector<std::uint64_t>& ids);

}  // namespace troupe::actors
