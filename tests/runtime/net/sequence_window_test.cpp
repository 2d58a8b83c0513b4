#include <set>

#include <catch2/catch.hpp>

#include <troupe/runtime/net/keys.h>
#include <troupe/runtime/net/sequence_window.h>

using troupe::net::SequenceWindow;

TEST_CASE("sequence window: increasing numbers pass once", "[sequence]") {
  SequenceWindow window;
  CHECK_FALSE(window.accept(0));
  for (std::uint64_t s = 1; s < 5000; ++s) {
    REQUIRE(window.accept(s));
    REQUIRE_FALSE(window.accept(s));
  }
  CHECK_FALSE(window.accept(1));
  CHECK(window.accept(1ull << 60));
  CHECK_FALSE(window.accept(4999));
  CHECK(window.accept((1ull << 60) - 1));
  CHECK(window.accept(UINT64_MAX));
  CHECK_FALSE(window.accept(UINT64_MAX));
}

TEST_CASE("sequence window: agrees with a set, at random", "[sequence]") {
  const std::uint64_t seed = troupe::net::random_u64();
  INFO("seed " << seed);
  std::uint64_t state = seed;
  SequenceWindow window;
  std::set<std::uint64_t> seen;
  std::uint64_t newest = 0;
  for (int i = 0; i < 50000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const std::uint64_t jump = state >> 33;
    // Numbers are mostly close by, and now and then far ahead or far behind.
    std::uint64_t s = newest + jump % 40;
    s = jump % 3 == 0 && newest > 1500 ? newest - jump % 1500 : s;
    s = jump % 997 == 0 ? newest + jump % 3000 : s;
    const bool too_old = newest >= s && newest - s >= SequenceWindow::kSlots;
    const bool expected = s != 0 && !too_old && !seen.contains(s);
    REQUIRE(window.accept(s) == expected);
    if (expected) {
      seen.insert(s);
      newest = std::max(newest, s);
    }
  }
}
