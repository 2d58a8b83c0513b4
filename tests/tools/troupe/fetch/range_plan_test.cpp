#include <random>

#include <catch2/catch.hpp>

#include <troupe/tools/troupe/fetch/range_plan.h>

using troupe::tools::ByteRange;
using troupe::tools::RangePlan;

TEST_CASE("connections share a file, and halves are taken from the largest piece") {
  RangePlan plan(1000);
  const auto first = plan.take(100);
  REQUIRE(first);
  CHECK(plan.rest(*first) == ByteRange{0, 1000});
  const auto second = plan.take(100), third = plan.take(100), fourth = plan.take(100);
  REQUIRE((second && third && fourth));
  CHECK(plan.rest(*first) == ByteRange{0, 250});
  CHECK(plan.rest(*third) == ByteRange{250, 500});
  CHECK(plan.rest(*second) == ByteRange{500, 750});
  CHECK(plan.rest(*fourth) == ByteRange{750, 1000});
  plan.advance(*fourth, 250);
  CHECK(plan.received() == 250);
  CHECK(plan.missing() == std::vector<ByteRange>{{0, 750}});
  // Halves below the bound are not worth a connection.
  CHECK_FALSE(plan.take(126));
  CHECK(plan.take(125));
}

TEST_CASE("what a connection leaves goes to the next one") {
  RangePlan plan(100);
  const auto piece = plan.take(1000);
  REQUIRE(piece);
  CHECK_FALSE(plan.take(1000));
  plan.advance(*piece, 30);
  plan.give_back(*piece);
  const auto again = plan.take(1000);
  REQUIRE(again);
  CHECK(plan.rest(*again) == ByteRange{30, 100});
  plan.advance(*again, 70);
  CHECK(plan.complete());
  CHECK_FALSE(plan.take(1));
}

TEST_CASE("a plan goes on from what was missing") {
  const std::vector<ByteRange> missing{{10, 20}, {50, 100}};
  RangePlan plan(100, missing);
  CHECK(plan.received() == 40);
  CHECK(plan.missing() == missing);
  CHECK(RangePlan(0).complete());
  CHECK(RangePlan(7, {}).complete());
  CHECK(RangePlan::fits(100, {}));
  CHECK_FALSE(RangePlan::fits(100, {{10, 20}, {15, 30}}));
  CHECK_FALSE(RangePlan::fits(100, {{20, 10}}));
  CHECK_FALSE(RangePlan::fits(100, {{90, 101}}));
}

TEST_CASE("whatever connections do, every byte comes once") {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto up_to = [&](std::uint64_t most) { return random() % (most + 1); };
    const std::uint64_t bytes = up_to(5000);
    RangePlan plan(bytes);
    std::vector<int> times(bytes, 0);
    std::vector<RangePlan::Piece> taken;
    while (!plan.complete()) {
      if (taken.size() < 4 && up_to(1) == 0) {
        if (const auto piece = plan.take(1 + up_to(100))) taken.push_back(*piece);
      }
      if (taken.empty()) continue;
      const std::size_t one = up_to(taken.size() - 1);
      const ByteRange rest = plan.rest(taken[one]);
      const std::uint64_t count = up_to(std::min<std::uint64_t>(rest.end - rest.begin, 300));
      for (std::uint64_t i = 0; i < count; ++i) ++times[rest.begin + i];
      plan.advance(taken[one], count);
      if (count == rest.end - rest.begin || up_to(9) == 0) {
        plan.give_back(taken[one]);
        taken.erase(taken.begin() + static_cast<std::ptrdiff_t>(one));
      }
      if (up_to(49) == 0) {  // another process goes on
        plan = RangePlan(bytes, plan.missing());
        taken.clear();
      }
    }
    CHECK(std::all_of(times.begin(), times.end(), [](int count) { return count == 1; }));
    CHECK(plan.received() == bytes);
  }
}
