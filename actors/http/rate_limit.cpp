#include <algorithm>

#include <troupe/actors/http/rate_limit.h>

namespace troupe::http {

TokenBucket::TokenBucket(std::uint64_t per_minute, std::int64_t now_us)
    : capacity_(static_cast<double>(per_minute)),
      per_second_(static_cast<double>(per_minute) / 60.0),
      level_(capacity_),
      at_us_(now_us) {}

double TokenBucket::level_at(std::int64_t now_us) const {
  return std::min(capacity_, level_ + per_second_ * static_cast<double>(now_us - at_us_) * 1e-6);
}

double TokenBucket::wait_s(double cost, std::int64_t now_us) const {
  return std::max(0.0, (cost - level_at(now_us)) / per_second_);
}

void TokenBucket::pay(double cost, std::int64_t now_us) {
  level_ = level_at(now_us) - cost;
  at_us_ = now_us;
}

RateLimits::Buckets& RateLimits::buckets_of(const ApiKey& key, std::int64_t now_us) {
  Buckets& buckets = buckets_[key.name];
  const bool same = buckets.requests_per_minute == key.requests_per_minute &&
                    buckets.tokens_per_minute == key.tokens_per_minute;
  if (same) return buckets;
  buckets = {key.requests_per_minute, key.tokens_per_minute, std::nullopt, std::nullopt};
  if (key.requests_per_minute > 0) buckets.requests.emplace(key.requests_per_minute, now_us);
  if (key.tokens_per_minute > 0) buckets.tokens.emplace(key.tokens_per_minute, now_us);
  return buckets;
}

std::optional<RateLimits::Refusal> RateLimits::admit(const ApiKey& key, std::int64_t now_us) {
  Buckets& buckets = buckets_of(key, now_us);
  const double requests_s = buckets.requests ? buckets.requests->wait_s(1, now_us) : 0;
  // At least one token must be left; the rest of the request is paid for as it is computed.
  const double tokens_s = buckets.tokens ? buckets.tokens->wait_s(1, now_us) : 0;
  if (requests_s > 0 || tokens_s > 0) {
    return Refusal{tokens_s > requests_s, std::max(requests_s, tokens_s)};
  }
  if (buckets.requests) buckets.requests->pay(1, now_us);
  return std::nullopt;
}

void RateLimits::pay_tokens(const std::string& key, std::uint64_t tokens, std::int64_t now_us) {
  const auto found = buckets_.find(key);
  if (found == buckets_.end() || !found->second.tokens) return;
  found->second.tokens->pay(static_cast<double>(tokens), now_us);
}

}  // namespace troupe::http
