#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/status.h>

// What a node remembers about the cluster that it belongs to, in HOME/member.json (0600). The node
// writes the file when it has enrolled and reads it at its next start. Any thread.

namespace troupe::actors {

struct Membership {
  std::uint64_t cluster = 0;
  std::string cluster_name;
  net::PublicKey head{};
  std::string head_host;
  std::uint16_t head_port = 0;
};

// Returns nullopt if there is no such file.
//   Errors: kBadData (the file cannot be read; the text names it).
Result<std::optional<Membership>> load_membership(const std::filesystem::path& home);
Status save_membership(const std::filesystem::path& home, const Membership& membership);

}  // namespace troupe::actors
