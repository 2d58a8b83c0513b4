#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/coordinator/head_state.h>

// The answer to `troupe plan`.

namespace troupe::actors::coordinator {

// Says as a JSON object how an opening would be placed, with keys and values of `context` positions
// (0: the number that the placement itself would choose), on the nodes of these names, or on all
// nodes if there are none.
Result<std::string> plan_text(const HeadState& head, const Opening& opening, std::uint64_t context,
                              const std::vector<std::string>& nodes);

}  // namespace troupe::actors::coordinator
