#include <troupe/actors/facade/key_search.h>

namespace troupe::actors {

KeySearch::Next KeySearch::next(const Result<net::Token>& found, std::int64_t now_us) const {
  const bool may_change = found ? refused_ == found->seed : found.code() == Code::kUnavailable;
  if (may_change) return now_us < until_us_ ? Next::kLookAgain : Next::kGiveUp;
  return found ? Next::kTry : Next::kGiveUp;
}

}  // namespace troupe::actors
