#pragma once

#include <cstdint>

#include <troupe/actors/coordinator/head_state.h>

// Handles a model that fits into the cluster several times: which of its deployments gets a
// request, and when one more is made.

namespace troupe::actors::coordinator {

// Of `eldest` and its replicas that serve, returns the deployment in which one more answer would
// take the least time; nullptr if none of them serves. Pure.
Deployment* least_busy(HeadState& head, const Deployment& eldest, std::int64_t now_us);
// Ends replicas that share nodes with another one and have nothing left to do.
void release_doubled(HeadState& head);
// Places one more replica if all replicas that exist have enough to do, and if some nodes hold no
// layer of the model.
void replicate_when_busy(HeadState& head, const Deployment& eldest);

}  // namespace troupe::actors::coordinator
