#pragma once

#include <memory>

#include <troupe/actors/actors.h>
#include <troupe/actors/link.h>

// A remote client's token sink: it turns the events of the client's requests into frames. Each
// client has one. It ends with the client's connection, and the engines then cancel the client's
// requests.

namespace troupe::actors {

// Maps the numbers of a client's requests: its own ("theirs"), which its frames carry, and those
// that the head gives them ("ours"), which are unique among all clients. Any thread may call it.
class RequestNames {
 public:
  std::uint64_t add(std::uint64_t theirs);         // returns our number
  std::uint64_t theirs(std::uint64_t ours) const;  // 0 if the number is not known
  std::uint64_t ours(std::uint64_t theirs) const;  // 0 if the number is not known
  void erase(std::uint64_t ours);
  std::size_t size() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::uint64_t> theirs_;
};

token_sink spawn_session(caf::actor_system& system, std::shared_ptr<Link> link,
                         const net::PublicKey& client, std::shared_ptr<RequestNames> names);

}  // namespace troupe::actors
