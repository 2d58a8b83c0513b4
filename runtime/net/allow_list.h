#pragma once

#include <mutex>
#include <optional>
#include <unordered_map>

#include <troupe/runtime/net/key_pace.h>
#include <troupe/runtime/net/keys.h>

// Which keys may connect, and in which role. Any thread.

namespace troupe::net {

class AllowList {
 public:
  void allow(const PublicKey& key, Role role);
  void revoke(const PublicKey& key);
  std::optional<Role> role(const PublicKey& key) const;
  // Sets the door key of the user who runs this process. Must be called before any other thread
  // uses the list.
  void set_own_door(const PublicKey& key) { own_door_ = key; }
  // Returns how fast a key of this role may open connections.
  Pace pace(const PublicKey& key, Role role) const {
    return own_door_ == key ? kOwnDoorPace : pace_of(role);
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<PublicKey, Role, KeyHash> roles_;
  std::optional<PublicKey> own_door_;
};

}  // namespace troupe::net
