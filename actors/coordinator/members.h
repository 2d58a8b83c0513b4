#pragma once

#include <troupe/actors/coordinator/head_state.h>

// What nodes and newcomers say: they enrol, join, keep their leases, leave, and report what became
// of what they were told to do.

namespace troupe::actors::coordinator {

void on_node_frame(HeadState& head, const net::InFrame& frame);

}  // namespace troupe::actors::coordinator
