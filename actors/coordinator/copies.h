#pragma once

#include <string>

#include <troupe/actors/coordinator/head_state.h>

// Copies of a deployment's layers on the disks of the nodes that would take them over.

namespace troupe::actors::coordinator {

// Makes the copies that are due.
void check_copies(HeadState& head);
// A node could not copy layers of this model: all of them are asked again later.
void copy_again(HeadState& head, const std::string& model);

}  // namespace troupe::actors::coordinator
