#pragma once

#include <cstdint>

#include <troupe/actors/coordinator/head_state.h>

// Carries out a placement: the nodes let their peers in, then they load their layers, then the
// deployment's engine begins or goes on. And ends a deployment.

namespace troupe::actors::coordinator {

// The answers to an open.
ModelReady refusal(const HeadState& head, const Status& why);
ModelReady ready_answer(const HeadState& head, const Deployment& deployment);

// Every node of the deployment is told to let its peers in.
void begin_allowing(HeadState& head, const Deployment& deployment);
// All nodes have let their peers in: they are told to load.
void begin_loading(HeadState& head, const Deployment& deployment);
// Tells the nodes that have not answered once more: an order or its answer may have been lost.
void check_orders(HeadState& head);
// Starts the engine of a deployment whose stages are loaded, or tells it where they lie now, once
// its first stage can be reached. Then answers the opens that wait for it.
void begin_serving(HeadState& head, std::uint64_t epoch);
// Ends a deployment: its requests and the opens that wait for it get `why`, and its nodes let go of
// their layers.
void end_deployment(HeadState& head, std::uint64_t id, const Status& why);

}  // namespace troupe::actors::coordinator
