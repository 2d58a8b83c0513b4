#pragma once

#include <cstdint>

#include <troupe/actors/coordinator/head_state.h>

// The clients that are connected. Each has a record from its enrolment to the end of its
// connection.

namespace troupe::actors::coordinator {

// Returns the client's record. A new client gets one, and a session.
Client& client_of(HeadState& head, const net::PublicKey& key);
void forget_client(HeadState& head, const net::PublicKey& key);
// Forgets clients that enrolled but did not say Hello in time.
void forget_absent_clients(HeadState& head, std::int64_t now_us);

}  // namespace troupe::actors::coordinator
