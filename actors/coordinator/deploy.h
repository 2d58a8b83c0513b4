#pragma once

#include <cstdint>

#include <troupe/actors/coordinator/head_state.h>

// Carries out a placement: the nodes let their peers in, then load their layers, then the
// deployment's engine starts or continues. Also ends deployments.

namespace troupe::actors::coordinator {

// These make the answers to a request to open a model.
ModelReady refusal(const HeadState& head, const Status& why);
ModelReady ready_answer(const HeadState& head, const Deployment& deployment);

// Tells every node of the deployment to let its peers in.
void begin_allowing(HeadState& head, const Deployment& deployment);
// Called when all nodes have let their peers in: tells them to load their layers.
void begin_loading(HeadState& head, const Deployment& deployment);
// Repeats the order to nodes that have not answered: the order or the answer may have been lost.
void check_orders(HeadState& head);
// Starts the engine of a deployment whose stages are loaded, or tells the engine where the stages
// lie now, once the first stage can be reached. Then answers the requests to open that wait for the
// deployment.
void begin_serving(HeadState& head, std::uint64_t epoch);
// Ends a deployment: its requests and the openings that wait for it fail with `why`, and its nodes
// drop their layers.
void end_deployment(HeadState& head, std::uint64_t id, const Status& why);

}  // namespace troupe::actors::coordinator
