#pragma once

#include <string>

#include <troupe/actors/coordinator/head_state.h>

// Tells people about nodes that are members but get no layers.

namespace troupe::actors::coordinator {

// A sentence that says why the deployment (any deployment, if null) does without some of the nodes
// that are alive; "" if there are none.
std::string left_out_text(const HeadState& head, const Deployment* deployment);

}  // namespace troupe::actors::coordinator
