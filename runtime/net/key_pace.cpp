#include <algorithm>

#include <troupe/runtime/net/key_pace.h>

namespace troupe::net {
namespace {

// One connection in millionths, and one second in microseconds.
constexpr std::int64_t kOne = 1'000'000;

}  // namespace

void KeyPace::Bucket::fill(std::int64_t now_us) {
  const std::int64_t room = pace.burst * kOne - millionths;
  const std::int64_t elapsed_us = std::max<std::int64_t>(0, now_us - at_us);
  const bool full = elapsed_us >= room / pace.a_second + 1;
  millionths += full ? room : std::min(room, elapsed_us * pace.a_second);
  at_us = now_us;
}

bool KeyPace::admit(const PublicKey& key, const Pace& pace, std::int64_t now_us) {
  if (buckets_.size() >= sweep_at_) sweep(now_us);
  Bucket& bucket = buckets_.try_emplace(key, Bucket{pace, pace.burst * kOne, now_us}).first->second;
  bucket.pace = pace;
  bucket.fill(now_us);
  if (bucket.millionths < kOne) return false;
  bucket.millionths -= kOne;
  return true;
}

void KeyPace::sweep(std::int64_t now_us) {
  for (auto& [key, bucket] : buckets_) bucket.fill(now_us);
  std::erase_if(buckets_, [](const auto& entry) {
    return entry.second.millionths >= entry.second.pace.burst * kOne;
  });
  sweep_at_ = std::max<std::size_t>(1024, 2 * buckets_.size());
}

}  // namespace troupe::net
