#pragma once

#include <nlohmann/json_fwd.hpp>

#include <troupe/actors/coordinator/head_state.h>
#include <troupe/runtime/status.h>

// Nodes that are about to go: they get no new layers, and those that they hold move to others, with
// the answers that are under way. Only actors/coordinator/ includes it.

namespace troupe::actors::coordinator {

// Begins or, with ask.force, ends the draining of the node that ask.subject names. The answer is
// DrainedNode (actors/troupe/admin.h).
//   Errors: kNotFound (no node is named so), kFailedPrecondition (the node is not there), and those
//   of
//   place_again(), if the other nodes have no room for what it holds, and those of
//   Admission::set_drained: nothing changes then.
Result<nlohmann::json> drain(HeadState& head, const Manage& ask);

}  // namespace troupe::actors::coordinator
