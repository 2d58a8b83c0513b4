#pragma once

#include <string>

#include <troupe/actors/coordinator/head_state.h>

// Keeps copies of a deployment's layers on the disks of the nodes that would take the layers over.

namespace troupe::actors::coordinator {

// Orders the copies that are due.
void check_copies(HeadState& head);
// Notes that a node could not copy layers of this model: all nodes are asked again later.
void copy_again(HeadState& head, const std::string& model);

}  // namespace troupe::actors::coordinator
