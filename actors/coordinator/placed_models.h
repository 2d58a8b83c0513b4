#pragma once

#include <cstdint>
#include <string>

#include <troupe/actors/coordinator/head_state.h>

// What the head records in its journal so that it outlives the process: the deployments, and the
// requests of streams that can be resumed. A process without a journal records nothing.

namespace troupe::actors::coordinator {

// The deployment serves.
void record_deployment(HeadState& head, const Deployment& deployment);
// It has ended.
void erase_deployment(const HeadState& head, std::uint64_t id);
// The sink that an engine gets for a request: if the request can be resumed, one that records the
// tokens before it passes them on. Only `owner` may resume it.
token_sink logged_sink(HeadState& head, const Submit& request, const token_sink& sink,
                       const std::string& owner);

}  // namespace troupe::actors::coordinator
