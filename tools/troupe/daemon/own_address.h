#pragma once

#include <optional>
#include <string>

#include <troupe/runtime/net/transport.h>

// By which address others reach this machine.

namespace troupe::tools {

// That from which `peer` is reached; nothing when it is a loopback address or unknown. No packet is
// sent.
std::optional<std::string> own_address_towards(const net::Endpoint& peer);
// That towards `host`, else the one of the host name, else 127.0.0.1.
std::string own_address(const std::string& host);

}  // namespace troupe::tools
