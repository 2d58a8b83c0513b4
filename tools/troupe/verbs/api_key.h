#pragma once

#include <cstdint>
#include <string>

#include <CLI/CLI.hpp>

// `troupe key new --api NAME --api-key-file FILE` makes an API key for `troupe serve`. Such a key
// is not a token of a cluster. For key.cpp.

namespace troupe::tools {

struct ApiKeyOptions {
  std::string name, file, role = "api";
  std::uint64_t requests_per_minute = 0, tokens_per_minute = 0;
  std::uint32_t weight = 1;
  std::int32_t priority = 0;
  bool wanted() const { return !name.empty() || !file.empty(); }
};

void add_api_key_options(CLI::App& make, ApiKeyOptions& options);
// Returns the exit status.
int make_api_key(const ApiKeyOptions& options, bool json);

}  // namespace troupe::tools
