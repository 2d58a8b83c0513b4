#pragma once

#include <troupe/actors/coordinator/head_state.h>
#include <troupe/actors/coordinator/reach.h>

// Handles what nodes and newcomers send: they enrol, join, keep their leases, leave, and report the
// outcome of their orders.

namespace troupe::actors::coordinator {

void on_node_frame(HeadState& head, const net::InFrame& frame);
// Makes a node that said Hello a member and welcomes it, or refuses it.
void admit_node(HeadState& head, const DialledBack& node);

}  // namespace troupe::actors::coordinator
