#include <troupe/runtime/net/allow_list.h>

namespace troupe::net {

void AllowList::allow(const PublicKey& key, Role role) {
  std::lock_guard lock(mutex_);
  roles_[key] = role;
}

void AllowList::revoke(const PublicKey& key) {
  std::lock_guard lock(mutex_);
  roles_.erase(key);
}

std::optional<Role> AllowList::role(const PublicKey& key) const {
  std::lock_guard lock(mutex_);
  const auto found = roles_.find(key);
  if (found == roles_.end()) return std::nullopt;
  return found->second;
}

}  // namespace troupe::net
