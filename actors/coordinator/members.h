#pragma once

#include <troupe/actors/coordinator/head_state.h>
#include <troupe/actors/coordinator/reach.h>

// What nodes and newcomers say: they enrol, join, keep their leases, leave, and report what became
// of what they were told to do.

namespace troupe::actors::coordinator {

void on_node_frame(HeadState& head, const net::InFrame& frame);
// Makes a node that said Hello a member and welcomes it, or refuses it.
void admit_node(HeadState& head, const DialledBack& node);

}  // namespace troupe::actors::coordinator
