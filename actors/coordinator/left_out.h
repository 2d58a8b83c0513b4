#pragma once

#include <string>

#include <troupe/actors/coordinator/head_state.h>

// Explains which nodes are members but get no layers, and why.

namespace troupe::actors::coordinator {

// Returns a sentence that says why the deployment (if null: any deployment) does without some of
// the nodes that are alive; "" if it uses all of them.
std::string left_out_text(const HeadState& head, const Deployment* deployment);

}  // namespace troupe::actors::coordinator
