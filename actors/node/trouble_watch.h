#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <caf/all.hpp>

#include <troupe/actors/actors.h>
#include <troupe/runtime/machine/troubles.h>

// Checks every few seconds whether the machine of a node is in trouble
// (runtime/machine/troubles.h), on a thread of its own, because a disk that does not answer must
// not hold up a heartbeat. The node's heartbeats carry what it found. It also gives freed memory of
// the heap back to the system.

namespace troupe::actors {

// The troubles that were found last. Any thread may call.
class TroubleBoard {
 public:
  std::vector<std::string> all() const;  // the sentences
  // Replaces what was found, and logs what is new.
  void set(const std::vector<Trouble>& troubles);

 private:
  mutable std::mutex mutex_;
  std::vector<Trouble> troubles_;
};

using watch_actor = caf::typed_actor<caf::reacts_to<tick_atom>>;

// `home` is the node's, `threads` those that compute (0: it does not compute).
watch_actor spawn_trouble_watch(caf::actor_system& system, std::filesystem::path home, int threads,
                                std::shared_ptr<TroubleBoard> board);

}  // namespace troupe::actors
