#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include <troupe/runtime/net/keys.h>

// Knows which identity stands behind a client's connection. Each connection has a key of its own,
// and what it makes belongs to the identity that opened it. The head's actors share one object. Any
// thread.

namespace troupe::actors {

class Owners {
 public:
  void set(const net::PublicKey& connection, const net::PublicKey& identity) {
    std::lock_guard lock(mutex_);
    identities_[connection] = identity;
  }
  void forget(const net::PublicKey& connection) {
    std::lock_guard lock(mutex_);
    identities_.erase(connection);
  }
  // Returns the identity as Z85, or the connection's own key if the identity is not known.
  std::string of(const net::PublicKey& connection) const {
    std::lock_guard lock(mutex_);
    const auto found = identities_.find(connection);
    return net::to_z85(found == identities_.end() ? connection : found->second);
  }
  std::vector<net::PublicKey> connections_of(const net::PublicKey& identity) const {
    std::lock_guard lock(mutex_);
    std::vector<net::PublicKey> all;
    for (const auto& [connection, owner] : identities_) {
      if (owner == identity) all.push_back(connection);
    }
    return all;
  }

 private:
  mutable std::mutex mutex_;
  std::map<net::PublicKey, net::PublicKey> identities_;
};

}  // namespace troupe::actors
