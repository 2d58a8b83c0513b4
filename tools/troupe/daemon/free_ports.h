#pragma once

#include <cstdint>
#include <optional>
#include <string>

// Ports for a node that was not told where to listen: several daemons of one machine do not meet.

namespace troupe::tools {

// The first of `count` ports in a row that can be bound at this moment on `host`, which is an
// address of this machine or a name of one; looked for from `from` on, `count` further each time,
// up to a hundred times. Nothing if there are none, or the host is not here.
std::optional<std::uint16_t> first_free_ports(const std::string& host, std::uint16_t from,
                                              int count);

}  // namespace troupe::tools
