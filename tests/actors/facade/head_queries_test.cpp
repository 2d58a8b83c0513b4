#include <catch2/catch.hpp>

#include <troupe/actors/facade/head_queries.h>

using namespace std::chrono_literals;
using troupe::actors::RepeatClock;

TEST_CASE("head queries: a head that comes back each time is asked for as long as it takes") {
  const RepeatClock::Time began{};
  RepeatClock clock(began);
  // A long question, during which the head is away for 9 s again and again.
  auto called = began;
  for (int i = 0; i < 20; ++i) {
    CHECK(clock.may_repeat(called, called + 5s));
    called += 14s;
  }
}

TEST_CASE(
    "head queries: a head that does not live through the question is asked for half a minute") {
  const RepeatClock::Time began{};
  RepeatClock clock(began);
  CHECK(clock.may_repeat(began, began + 100ms));
  CHECK(clock.may_repeat(began + 15s, began + 15s + 100ms));
  CHECK(clock.may_repeat(began + 29s, began + 29s + 100ms));
  CHECK_FALSE(clock.may_repeat(began + 30s, began + 30s + 100ms));
}
