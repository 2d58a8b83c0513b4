#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/model/planning/placement.h>
#include <troupe/runtime/status.h>

// Where the layers of a model go: by what they cost each node where that was measured, else by the
// nodes' threads, and always within the memory that other deployments leave. Pure.

namespace troupe::actors {

// Places a model on the nodes that are alive and work, and returns the id of its deployment: the
// split that was asked for, in the order in which the nodes joined or held the model before;
// without one, a split of our own, with no more stages than layers.
//   Errors: kUnavailable (there is no node), kInvalidArgument (ranges that do not cover the layers
//   once, or more ranges than nodes), kResourceExhausted (memory: how much is missing, and where).
Result<std::uint64_t> place_model(ClusterState& state, DeploymentSpec spec,
                                  std::set<std::uint64_t> instead_of = {});

// What place_model() would do, and what it would be based on.
struct PlacementPreview {
  Workers nodes;                          // that may be used, in order
  std::vector<std::uint64_t> memories;    // what each of them has left
  std::vector<model::LayerRange> ranges;  // one a node; those of unused nodes are empty
  model::PlanNodes measured;              // without costs if those of one node are not known
  model::PlanShape shape;
};
// On the nodes of these names, or on all if there are none.
//   Errors: as place_model(); kNotFound (a name that no node has).
Result<PlacementPreview> preview_placement(const ClusterState& state, const Deployment& deployment,
                                           const std::vector<std::string>& names);

// The layers of `ranges`, or a split of our own if there are none, on the first of `workers`.
//   Errors: kInvalidArgument and kResourceExhausted as place_model().
Result<std::vector<StagePlan>> share_out(const ClusterState& state, const Workers& workers,
                                         const Deployment& deployment,
                                         const std::vector<model::LayerRange>& ranges);

// Where a deployment lies, on those of its nodes that are known.
model::Placement placement_of(const ClusterState& state, const Deployment& deployment);

// The number of positions that the requests of a deployment may take together: what the memory of
// every stage's node has room for, beside what other deployments were planned to take. 0: not
// known.
std::uint64_t positions_max(const ClusterState& state, const Deployment& deployment);

}  // namespace troupe::actors
