#include <algorithm>

#include <troupe/actors/http/promised_places.h>

namespace troupe::http {
namespace {

constexpr std::size_t kPromisesMax = 16'384;
constexpr double kShortest = 1, kLongest = 60;  // seconds
constexpr double kLeastReturning = 0.02;
constexpr std::int64_t kEarlyUs = 50'000, kGraceUs = 2'000'000;

std::int64_t to_us(double seconds) { return static_cast<std::int64_t>(seconds * 1e6); }

}  // namespace

void PromisedPlaces::lapse(std::int64_t now_us) {
  while (!ends_.empty() && ends_.begin()->first <= now_us) {
    const auto found = promises_.find(ends_.begin()->second);
    if (found != promises_.end() && found->second.lapses_us == ends_.begin()->first) {
      promises_.erase(found);
      returning_ += 0.02 * (0 - returning_);
    }
    ends_.erase(ends_.begin());
  }
}

double PromisedPlaces::promise_s(std::uint64_t who, bool back, double between_s,
                                 std::int64_t now_us) {
  lapse(now_us);
  // Half of the places are kept for clients that were told to come back, so that a place is nearly
  // always free when they come.
  const double each_s = 2 * between_s * std::max(returning_, kLeastReturning);
  const std::int64_t soonest_us = now_us + to_us(kShortest);
  const std::int64_t turn_us =
      std::clamp(last_due_us_ + to_us(each_s), soonest_us, now_us + to_us(kLongest));
  const std::int64_t due_us = back ? soonest_us : turn_us;
  const std::int64_t wait_us = due_us - now_us;
  if (promises_.size() < kPromisesMax) {
    if (!back) last_due_us_ = due_us;
    const std::int64_t lapses_us = due_us + std::max(kGraceUs, wait_us / 2);
    promises_[who] = {due_us, lapses_us};
    ends_.emplace(lapses_us, who);
  }
  return static_cast<double>(wait_us) * 1e-6;
}

bool PromisedPlaces::comes_back(std::uint64_t who, std::int64_t now_us) {
  lapse(now_us);
  const auto found = promises_.find(who);
  if (found == promises_.end() || now_us < found->second.due_us - kEarlyUs) return false;
  promises_.erase(found);
  returning_ += 0.02 * (1 - returning_);
  return true;
}

std::size_t PromisedPlaces::kept(std::int64_t now_us) {
  lapse(now_us);
  return promises_.size();
}

}  // namespace troupe::http
