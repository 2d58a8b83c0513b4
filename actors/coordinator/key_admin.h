#pragma once

#include <cstdint>

#include <troupe/actors/coordinator/head_state.h>

// What clients ask for besides answers: models are unloaded, keys are made, listed and revoked.

namespace troupe::actors::coordinator {

// `own_user`: the client belongs to the user who runs the head; only then may it manage keys.
Managed manage(HeadState& head, const Manage& ask, bool own_user);
// Tells a node that its key was revoked.
void send_revoked(const HeadState& head, const net::PublicKey& key);
// Drops the frames of revoked nodes that have had the time to hear of it.
void drop_revoked(HeadState& head, std::int64_t now_us);

}  // namespace troupe::actors::coordinator
