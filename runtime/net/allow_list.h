#pragma once

#include <mutex>
#include <optional>
#include <unordered_map>

#include <troupe/runtime/net/keys.h>

// Which keys may connect, and in which role. Any thread.

namespace troupe::net {

struct KeyHash {
  std::size_t operator()(const PublicKey& key) const;
};

class AllowList {
 public:
  void allow(const PublicKey& key, Role role);
  void revoke(const PublicKey& key);
  std::optional<Role> role(const PublicKey& key) const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<PublicKey, Role, KeyHash> roles_;
};

}  // namespace troupe::net
