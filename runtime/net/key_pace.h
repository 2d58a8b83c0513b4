#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include <troupe/runtime/net/keys.h>

// Limits how fast one key may do something, such as opening connections, with a token bucket for
// each key. An honest process opens a few connections when it starts; one that opens thousands
// means to exhaust something. Pure: the time is an argument.

namespace troupe::net {

struct Pace {
  std::int64_t burst = 0;     // how many actions may come at once
  std::int64_t a_second = 0;  // how many actions per second are allowed in the long run
};
// For connections: many commands share one door key and start at once; any other key belongs to one
// process.
constexpr Pace kDoorPace{400, 5};
constexpr Pace kMemberPace{64, 1};
// A program with the door key of the daemon's own user can end the daemon anyway. The user's
// scripts may call as many commands as they like; this limit bounds the CPU time of the handshakes.
constexpr Pace kOwnDoorPace{2'000, 200};
constexpr Pace pace_of(Role role) { return role == Role::kEnrol ? kDoorPace : kMemberPace; }

class KeyPace {
 public:
  // Returns true, and counts one action of the key, if the key may act now.
  bool admit(const PublicKey& key, const Pace& pace, std::int64_t now_us);
  std::size_t size() const { return buckets_.size(); }

 private:
  struct Bucket {
    Pace pace;
    std::int64_t millionths = 0;  // how many actions the key may do now, in millionths
    std::int64_t at_us = 0;
    void fill(std::int64_t now_us);
  };
  // Forgets keys whose bucket is full again.
  void sweep(std::int64_t now_us);

  std::unordered_map<PublicKey, Bucket, KeyHash> buckets_;
  std::size_t sweep_at_ = 1024;
};

}  // namespace troupe::net
