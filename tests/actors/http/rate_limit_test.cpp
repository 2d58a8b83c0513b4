#include <catch2/catch.hpp>

#include <troupe/actors/http/rate_limit.h>

using namespace troupe;
using namespace troupe::http;

TEST_CASE("http limits: what is sustained is the limit, and Retry-After is true") {
  RateLimits limits;
  ApiKey key;
  key.name = "a";
  key.requests_per_minute = 120;
  std::int64_t now_us = 0;
  int admitted = 0;
  while (!limits.admit(key, now_us)) ++admitted;
  CHECK(admitted == 120);
  // A client that comes back exactly when it is told to is admitted each time.
  admitted = 0;
  while (now_us < 600'000'000) {
    const auto refusal = limits.admit(key, now_us);
    if (!refusal) {
      ++admitted;
      continue;
    }
    CHECK(!refusal->tokens);
    now_us += static_cast<std::int64_t>(refusal->retry_after_s * 1e6) + 1;
  }
  CHECK(admitted >= 1140);
  CHECK(admitted <= 1201);
}

TEST_CASE("http limits: tokens are paid for afterwards, and a debt is waited for") {
  RateLimits limits;
  ApiKey key;
  key.name = "a";
  key.tokens_per_minute = 600;
  CHECK(!limits.admit(key, 0));
  limits.pay_tokens("a", 1000, 0);
  const auto refusal = limits.admit(key, 0);
  REQUIRE(refusal);
  CHECK(refusal->tokens);
  CHECK(refusal->retry_after_s == Approx(40.1));
  CHECK(limits.admit(key, 40'000'000));
  CHECK(!limits.admit(key, 40'200'000));
  limits.pay_tokens("somebody else", 1000, 0);
  // A limit that was changed begins anew.
  key.tokens_per_minute = 60;
  CHECK(!limits.admit(key, 40'200'000));
}
