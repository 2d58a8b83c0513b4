#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// What a node remembers of the cluster that it belongs to, HOME/member.json (0600). The node writes
// it when it has enrolled, and reads it at its next start. Values and a file; any thread.

namespace troupe::actors {

struct Membership {
  std::uint64_t cluster = 0;
  std::string cluster_name;
  net::PublicKey head{};
  std::string head_host;
  std::uint16_t head_port = 0;
};

// nullopt if there is no such file; kBadData names one that cannot be read.
Result<std::optional<Membership>> load_membership(const std::filesystem::path& home);
Status save_membership(const std::filesystem::path& home, const Membership& membership);

}  // namespace troupe::actors
