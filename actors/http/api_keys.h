#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/actors/http/routes.h>
#include <troupe/runtime/status.h>

// The API keys of an HTTP server. They have nothing to do with the cluster's own tokens. A file has
// one key per line, in words separated by spaces; `#` begins a comment:
//
//   NAME sha256:HEX [role=api|metrics|admin] [requests_per_minute=N] [tokens_per_minute=N]
//                   [weight=N] [priority=N]
//
// HEX is the SHA-256 of the key, which has 256 random bits, so that the file reveals no key. Pure,
// except that it reads and writes the file.

namespace troupe::http {

struct ApiKey {
  std::string name, sha256;
  Role role = Role::kApi;
  std::uint64_t requests_per_minute = 0, tokens_per_minute = 0;  // 0: no limit
  // While other keys ask, too, the key gets tokens in proportion to its weight, from 1 to 100.
  std::uint32_t weight = 1;
  // The smallest priority number, from -9 to 9, that a request may ask for.
  std::int32_t priority = 0;
};

class ApiKeys {
 public:
  // Errors: kBadData naming the line and what is wrong in it.
  static Result<ApiKeys> parse(std::string_view text);
  // Errors: those of read_file and parse; kPermissionDenied if others than the owner may read it.
  static Result<ApiKeys> load(const std::filesystem::path& path);

  // Returns null if the file does not have this key. The time does not depend on which key of the
  // file it equals or resembles.
  const ApiKey* find(std::string_view key) const;
  const ApiKey* named(std::string_view name) const;
  const std::vector<ApiKey>& all() const { return keys_; }

 private:
  std::vector<ApiKey> keys_;
};

// True if a key of this role may use a route of the other role.
bool may_use(Role key, Role route);
// True for 1 to 64 letters, digits, '.', '_' and '-'.
bool is_key_name(std::string_view name);

// Draws a key, and adds its line to the file, which is made (0600) if it is absent. Returns the
// key, which is stored nowhere.
//   Errors: kInvalidArgument (the name), kAlreadyExists (the file has the name), those of load.
Result<std::string> add_api_key(const std::filesystem::path& path, const ApiKey& described);

}  // namespace troupe::http
