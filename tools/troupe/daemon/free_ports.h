#pragma once

#include <cstdint>
#include <optional>
#include <string>

// Finds ports for a node that was not told where to listen, so that several daemons of one machine
// do not collide.

namespace troupe::tools {

// Returns the first of `count` ports in a row that can be bound at this moment on `host`, which is
// an address of this machine or a name of one. The search begins at `from` and goes on by `count`,
// up to a hundred times. Returns nothing if there are none, or if the host is not this machine.
std::optional<std::uint16_t> first_free_ports(const std::string& host, std::uint16_t from,
                                              int count);

}  // namespace troupe::tools
