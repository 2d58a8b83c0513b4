#pragma once

#include <optional>
#include <string>

#include <troupe/runtime/net/transport.h>

// Finds the address by which other machines reach this one.

namespace troupe::tools {

// Returns the address from which `peer` is reached; nothing if it is a loopback address or unknown.
// No packet is sent.
std::optional<std::string> own_address_towards(const net::Endpoint& peer);
// True if no other machine can reach an address of the host, which may be a name.
bool is_only_here(const std::string& host);
// Returns the address on the route to `host`, otherwise that of the host name, otherwise 127.0.0.1.
std::string own_address(const std::string& host);

}  // namespace troupe::tools
