#pragma once

#include <optional>
#include <string>

#include <troupe/runtime/net/transport.h>

// Finds the address by which other machines reach this one.

namespace troupe::tools {

// The address from which `peer` is reached; nothing if it is a loopback address or unknown. No
// packet is sent.
std::optional<std::string> own_address_towards(const net::Endpoint& peer);
// Whether every address of the host, which may be a name, is one that only this machine reaches.
bool is_only_here(const std::string& host);
// The address on the route to `host`, else that of the host name, else 127.0.0.1.
std::string own_address(const std::string& host);

}  // namespace troupe::tools
