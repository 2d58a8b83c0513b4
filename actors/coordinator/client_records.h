#pragma once

#include <cstdint>

#include <troupe/actors/coordinator/head_state.h>

// The clients that are connected: a record each, from enrolment to the end of the connection.

namespace troupe::actors::coordinator {

// The client's record; a new client gets one, with a session.
Client& client_of(HeadState& head, const net::PublicKey& key);
void forget_client(HeadState& head, const net::PublicKey& key);
// Forgets clients that enrolled and have not said Hello in time.
void forget_absent_clients(HeadState& head, std::int64_t now_us);

}  // namespace troupe::actors::coordinator
