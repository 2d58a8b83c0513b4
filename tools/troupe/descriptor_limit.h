#pragma once

// The number of descriptors that this process may have open.

namespace troupe::tools {

// Raises the soft limit to the hard one, for commands that serve: usual soft limits (1,024) are
// lower than the number of connections that a server takes.
void raise_descriptor_limit();

}  // namespace troupe::tools
