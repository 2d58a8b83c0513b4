#pragma once

#include <cstdint>

#include <troupe/actors/coordinator/head_state.h>

// A model that fits into the cluster several times: which of its deployments is asked, and when
// there is one more.

namespace troupe::actors::coordinator {

// The deployment where one more answer takes the least time, out of `eldest` and its replicas that
// serve; nullptr if none of them does. Pure.
Deployment* least_busy(HeadState& head, const Deployment& eldest, std::int64_t now_us);
// Ends replicas that share nodes with another one and have nothing left to do.
void release_doubled(HeadState& head);
// Places one more replica if all that exist have enough to do, and nodes are left that hold nothing
// of the model.
void replicate_when_busy(HeadState& head, const Deployment& eldest);

}  // namespace troupe::actors::coordinator
