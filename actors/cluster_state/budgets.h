#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>

#include <troupe/runtime/net/key_pace.h>
#include <troupe/runtime/net/keys.h>

// How much of a head's resources one client identity may take, by the client's role. The bounds are
// far above what an honest program needs; they keep one owner from taking what the others need. One
// thread at a time, except that what take() returns may be released by any thread.

namespace troupe::actors {

struct Budget {
  std::size_t models = 0;         // different models whose headers are on their way to the head
  std::size_t opens = 0;          // requests to open a model that have no answer yet,
  std::uint64_t opens_bytes = 0;  // and the bytes of their frames
  std::size_t requests = 0;       // answers that have not ended
  std::uint64_t job_bytes = 0;    // of inputs, outputs and results in the head's journal
};
constexpr Budget budget_of(net::Role role) {
  constexpr std::uint64_t kMiB = 1u << 20;
  switch (role) {
    case net::Role::kServer:  // other people's requests
      return {8, 1024, 256 * kMiB, 4096, 4096 * kMiB};
    case net::Role::kOperator:
    case net::Role::kAdmin:
      return {16, 1024, 1024 * kMiB, 4096, 65536 * kMiB};
    case net::Role::kHead:
    case net::Role::kNode:
    case net::Role::kClient:
    case net::Role::kEnrol:
      break;
  }
  return {4, 64, 64 * kMiB, 256, 4096 * kMiB};
}
// Enrolments of one door key. (The identities' connections have a bound of their own.)
constexpr net::Pace kEnrolments{2'000, 20};

// Counts, for each owner, things that are under way.
class OwnerCounts {
 public:
  // Adds `amount` to the owner's count, and returns a handle whose last copy subtracts it again.
  // Returns nullptr, and adds nothing, if the count would exceed `most`.
  std::shared_ptr<void> take(const std::string& owner, std::uint64_t amount, std::uint64_t most);
  std::uint64_t count(const std::string& owner) const;

 private:
  std::map<std::string, std::shared_ptr<std::atomic<std::uint64_t>>> counts_;
};

}  // namespace troupe::actors
