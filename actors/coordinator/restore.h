#pragma once

#include <troupe/actors/coordinator/head_state.h>

// Places the models again that an earlier run of this head had placed. The nodes come back by
// themselves: they dial until the head is back, and then join anew.

namespace troupe::actors::coordinator {

// Reads what the earlier run recorded. Called before anything else happens.
void begin_restoring(HeadState& head);
// Places the models when their nodes are back, or when the nodes have had enough time.
void check_restoring(HeadState& head);

}  // namespace troupe::actors::coordinator
