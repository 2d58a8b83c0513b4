#pragma once

#include <string>

#include <troupe/actors/coordinator/head_state.h>

// What people are told of nodes that are there and get no layers.

namespace troupe::actors::coordinator {

// Why the deployment (null: any) does without some nodes that are there, in a sentence; "" if there
// are none.
std::string left_out_text(const HeadState& head, const Deployment* deployment);

}  // namespace troupe::actors::coordinator
