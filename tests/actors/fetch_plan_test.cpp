#include <deque>

#include <catch2/catch.hpp>

#include <troupe/actors/bulk.h>

using namespace troupe;
using namespace troupe::actors;

TEST_CASE("fetch: chunks in order within the window, each blob once, restart repeats what is due") {
  FetchPlan plan;
  const std::uint64_t big = 5 * FetchPlan::kChunkBytes + 17;
  plan.add({"a", 100}, 0);
  plan.add({"b", big}, 0);
  plan.add({"a", 100}, 0);  // again
  plan.add({"c", 1}, 0);
  std::map<std::string, std::uint64_t> got;
  bool restarted = false;
  std::deque<FetchPlan::Ask> way;
  for (int guard = 0; guard < 100 && !plan.complete(); ++guard) {
    while (auto ask = plan.next()) way.push_back(*ask);
    REQUIRE(way.size() <= FetchPlan::kWindow);
    const auto ask = way.front();
    way.pop_front();
    REQUIRE(ask.offset == got[ask.sha256]);
    const auto result = plan.on_chunk(ask.sha256, ask.offset, ask.length);
    REQUIRE(result);
    got[ask.sha256] += ask.length;
    if (!restarted && got["b"] == 2 * FetchPlan::kChunkBytes) {
      restarted = true;
      plan.restart();
      way.clear();
    }
  }
  CHECK(restarted);
  CHECK(got == std::map<std::string, std::uint64_t>{{"a", 100}, {"b", big}, {"c", 1}});
}

TEST_CASE("fetch: a chunk that is not the one due is refused") {
  FetchPlan plan;
  plan.add({"a", 3 * FetchPlan::kChunkBytes}, 0);
  CHECK(plan.on_chunk("a", 0, FetchPlan::kChunkBytes).code() == Code::kBadData);  // not asked
  const auto first = plan.next();
  REQUIRE(first);
  REQUIRE(plan.next());
  CHECK(plan.on_chunk("a", FetchPlan::kChunkBytes, FetchPlan::kChunkBytes).code() ==
        Code::kBadData);
  CHECK(plan.on_chunk("b", 0, FetchPlan::kChunkBytes).code() == Code::kBadData);
  CHECK(plan.on_chunk("a", 0, 5).code() == Code::kBadData);
  CHECK(plan.on_chunk("a", 0, FetchPlan::kChunkBytes).is_ok());
}
