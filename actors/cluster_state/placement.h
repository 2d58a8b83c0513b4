#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <troupe/actors/cluster_state/cluster_state.h>
#include <troupe/model/planning/placement.h>
#include <troupe/runtime/status.h>

// Decides where the layers of a model go: by what they cost each node if that was measured, else by
// the nodes' threads, and always within the memory that other deployments leave. Pure.

namespace troupe::actors {

// Places a model on the nodes that are alive and work, and returns the id of its deployment. The
// split is the one that was asked for, or else one of our own, with no more stages than layers. The
// nodes are taken in the order in which they joined, or in which they held the model before.
//   Errors: kUnavailable (there is no node), kInvalidArgument (ranges that do not cover the layers
//   once, or more ranges than nodes), kResourceExhausted (memory; the text says how much is
//   missing, and where).
Result<std::uint64_t> place_model(ClusterState& state, DeploymentSpec spec,
                                  std::set<std::uint64_t> instead_of = {});

// What place_model() would do, and the numbers behind it.
struct PlacementPreview {
  Workers nodes;                          // the nodes that may be used, in order
  std::vector<std::uint64_t> memories;    // what each of them has left
  std::vector<model::LayerRange> ranges;  // one for each node; those of unused nodes are empty
  model::PlanNodes measured;              // without costs if the costs of one node are not known
  model::PlanShape shape;
};
// Plans for the nodes of these names, or for all nodes if there are no names.
//   Errors: as place_model(); kNotFound (a name that no node has).
Result<PlacementPreview> preview_placement(const ClusterState& state, const Deployment& deployment,
                                           const std::vector<std::string>& names);

// Puts the layers of `ranges`, or a split of our own if there are none, on the first of `workers`.
//   Errors: kInvalidArgument and kResourceExhausted as place_model().
Result<std::vector<StagePlan>> share_out(const ClusterState& state, const Workers& workers,
                                         const Deployment& deployment,
                                         const std::vector<model::LayerRange>& ranges);

// Returns where a deployment lies, on those of its nodes that are known.
model::Placement placement_of(const ClusterState& state, const Deployment& deployment);

// Returns the number of positions that the requests of a deployment may take together: the number
// for which every stage's node has room, beside what other deployments were planned to take. It is
// one page at least, so that a node whose memory has shrunk does not count as one without a bound.
// 0 if it is not known.
std::uint64_t positions_max(const ClusterState& state, const Deployment& deployment);

}  // namespace troupe::actors
