#pragma once

#include <cstdint>
#include <string>

#include <troupe/actors/coordinator/head_state.h>

// What clients ask for: to open models, to get answers, to see the cluster's status, to stop it.

namespace troupe::actors::coordinator {

void on_client_frame(HeadState& head, const net::InFrame& frame);
// Passes a request to its engine. `owner` is the identity that asks, as Z85; it is "" for this
// process.
void submit(HeadState& head, const SubmitPtr& request, const token_sink& sink,
            const std::string& owner);
void cancel(HeadState& head, std::uint64_t request);
// Returns status_json() for the identity that asks, which is "" for this process.
std::string status_text(const HeadState& head, const std::string& client);

}  // namespace troupe::actors::coordinator
