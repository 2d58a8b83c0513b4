#pragma once

#include <functional>

#include <troupe/actors/coordinator/head_state.h>

// `troupe plan`: fetches the model's header, measures the nodes, and answers without placing
// anything.

namespace troupe::actors::coordinator {

// `from` has the model's file if the message has a manifest. `reply` is called once.
void plan_model(HeadState& head, const PlanModel& asked, const net::PublicKey& from,
                std::function<void(const Managed&)> reply);

}  // namespace troupe::actors::coordinator
