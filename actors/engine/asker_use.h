#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

// How much of a deployment each asker uses, for people (`status` and /metrics): no decision depends
// on it. The names are EngineRequest::owner.

namespace troupe::actors {

struct AskerUse {
  // Positions that were looked up among the blocks, and found; requests that gave way; ids that
  // were drafted, and came true. All since the deployment was placed first.
  std::uint64_t prefix_queried = 0, prefix_found = 0, preemptions = 0, drafted = 0, accepted = 0;
  // Blocks that its requests have now (one that several share counts once), and idle ones that only
  // it can find.
  std::uint64_t blocks_in_use = 0, blocks_idle = 0;
};

struct NamedUse {
  std::string owner;
  AskerUse use;
};

// The uses of the kAskersMax askers that were counted last. Pure; called by EngineState.
class AskerUses {
 public:
  static constexpr std::size_t kAskersMax = 256;

  // Returns the use of an asker. The reference is good until the next call.
  AskerUse& of(const std::string& owner);
  std::vector<NamedUse> all() const;  // by name

 private:
  struct Asker {
    AskerUse use;
    std::uint64_t counted = 0;  // when it was counted last, by clock_
  };
  std::map<std::string, Asker> askers_;
  std::uint64_t clock_ = 0;
};

// The uses that the engine publishes and any thread may read.
class PublishedUses {
 public:
  void set(std::vector<NamedUse> uses) {
    std::lock_guard lock(mutex_);
    uses_ = std::move(uses);
  }
  std::vector<NamedUse> get() const {
    std::lock_guard lock(mutex_);
    return uses_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<NamedUse> uses_;
};

}  // namespace troupe::actors
