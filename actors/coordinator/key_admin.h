#pragma once

#include <cstdint>

#include <troupe/actors/coordinator/head_state.h>

// What clients ask for besides answers: models are unloaded, keys are made, listed and revoked.

namespace troupe::actors::coordinator {

// Answers an ask of a client of this role.
Managed manage(HeadState& head, const Manage& ask, net::Role role);
// Tokens that have expired or are used up leave the list of keys that may connect.
void end_tokens(HeadState& head);
// Tells a node that its key was revoked.
void send_revoked(const HeadState& head, const net::PublicKey& key);
// Drops the frames of revoked nodes that have had the time to hear of it.
void drop_revoked(HeadState& head, std::int64_t now_us);

}  // namespace troupe::actors::coordinator
