#pragma once

#include <cstdint>

#include <troupe/actors/coordinator/audited.h>
#include <troupe/actors/coordinator/head_state.h>

// What administrators ask for: to unload models, and to make, list and revoke keys.

namespace troupe::actors::coordinator {

// Answers what a client asks, as far as its role reaches.
Managed manage(HeadState& head, const Manage& ask, const Asking& asking);
// Removes tokens that have expired or are used up from the list of keys that may connect.
void end_tokens(HeadState& head);
// Tells a node that its key was revoked.
void send_revoked(const HeadState& head, const net::PublicKey& key);
// Drops the frames of revoked nodes that have had enough time to receive the message.
void drop_revoked(HeadState& head, std::int64_t now_us);

}  // namespace troupe::actors::coordinator
