#pragma once

#include <troupe/actors/coordinator/head_state.h>

// Brings back what an earlier run of this head had placed. Nodes come back by themselves: they dial
// until the head is there again, and then join anew.

namespace troupe::actors::coordinator {

// Reads what the earlier run recorded, before anything else happens.
void begin_restoring(HeadState& head);
// Places it when its nodes are back, or when they have had enough time.
void check_restoring(HeadState& head);

}  // namespace troupe::actors::coordinator
