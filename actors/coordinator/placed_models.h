#pragma once

#include <cstdint>
#include <string>

#include <troupe/actors/coordinator/head_state.h>

// What the head records in its journal because it must outlive the process: the deployments, and
// the requests of streams that can be resumed. A process without a journal records nothing.

namespace troupe::actors::coordinator {

// Records that the deployment serves.
void record_deployment(HeadState& head, const Deployment& deployment);
// Records that the deployment has ended.
void erase_deployment(const HeadState& head, std::uint64_t id);
// Returns the sink that an engine gets for a request. If the request can be resumed, the sink
// records the tokens before it passes them on. Only `owner` may resume the request.
token_sink logged_sink(HeadState& head, const Submit& request, const token_sink& sink,
                       const std::string& owner);

}  // namespace troupe::actors::coordinator
