#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/coordinator/head_state.h>

// The answer to `troupe plan`.

namespace troupe::actors::coordinator {

// What an opening would become with keys and values of `context` positions (0: as it would be
// placed), on the nodes of these names or on all if there are none, as a JSON object.
Result<std::string> plan_text(const HeadState& head, const Opening& opening, std::uint64_t context,
                              const std::vector<std::string>& nodes);

}  // namespace troupe::actors::coordinator
