#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include <troupe/actors/http/api_keys.h>

// The limits of keys: token buckets that hold what is allowed in a minute. Requests are paid for
// when they come, tokens when they are computed, so that a bucket may be in debt. Pure: time is an
// argument.

namespace troupe::http {

class TokenBucket {
 public:
  // `per_minute` is above 0. The bucket begins full.
  TokenBucket(std::uint64_t per_minute, std::int64_t now_us);
  // Returns the seconds until `cost` can be paid; 0 if it can be paid now.
  double wait_s(double cost, std::int64_t now_us) const;
  // Pays, whether or not there is enough.
  void pay(double cost, std::int64_t now_us);

 private:
  double level_at(std::int64_t now_us) const;
  double capacity_, per_second_, level_;
  std::int64_t at_us_;
};

class RateLimits {
 public:
  struct Refusal {
    bool tokens = false;  // whether the limit is that of tokens
    double retry_after_s = 0;
  };
  // Pays for a request, or says when the next one may come.
  std::optional<Refusal> admit(const ApiKey& key, std::int64_t now_us);
  void pay_tokens(const std::string& key, std::uint64_t tokens, std::int64_t now_us);

 private:
  struct Buckets {
    std::uint64_t requests_per_minute = 0,
                  tokens_per_minute = 0;  // the limits with which the buckets were made
    std::optional<TokenBucket> requests, tokens;
  };
  Buckets& buckets_of(const ApiKey& key, std::int64_t now_us);
  std::map<std::string, Buckets> buckets_;
};

}  // namespace troupe::http
