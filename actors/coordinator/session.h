#pragma once

#include <memory>

#include <troupe/actors/actors.h>
#include <troupe/actors/link.h>

// A remote client's token sink: turns the events of its requests into frames. One a client; ends
// with the client's connection, upon which the engines cancel its requests.

namespace troupe::actors {

// Requests are numbered by the head inside, by the client outside; `rename` maps one to the other.
class RequestNames {
 public:
  std::uint64_t add(std::uint64_t theirs);         // -> ours
  std::uint64_t theirs(std::uint64_t ours) const;  // 0: unknown
  std::uint64_t ours(std::uint64_t theirs) const;  // 0: unknown
  void erase(std::uint64_t ours);

 private:
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> theirs_;
};

token_sink spawn_session(caf::actor_system& system, std::shared_ptr<Link> link,
                         const net::PublicKey& client, std::shared_ptr<RequestNames> names);

}  // namespace troupe::actors
