#pragma once

#include <cstdint>
#include <map>
#include <set>

#include <troupe/actors/coordinator/head_state.h>
#include <troupe/actors/coordinator/status_json.h>

// How long models stay loaded: while they are in use, then for --keep-alive, unless another model
// needs their memory earlier.

namespace troupe::actors::coordinator {

// Ends the unused deployment that was used longest ago, except those in `except`. Returns false if
// there is none.
bool make_room(HeadState& head, const std::set<std::uint64_t>& except);
// Unloads the models that nobody has used for --keep-alive.
void release_unused(HeadState& head);
// Returns what each deployment's engine is doing, by the deployment's id.
std::map<std::uint64_t, DeploymentUse> uses_of(const HeadState& head);

}  // namespace troupe::actors::coordinator
