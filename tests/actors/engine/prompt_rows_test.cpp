#include <algorithm>
#include <random>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/actors/engine/prompt_rows.h>

using namespace troupe::actors;

namespace {

using Rows = std::vector<std::size_t>;

// As long as nothing is known about costs, every row costs the same.
Rows shares(const Rows& left, std::size_t budget) {
  std::vector<PromptLeft> prompts;
  for (const std::size_t rows : left) prompts.push_back({rows, 0});
  return share_prompt_rows(prompts, {budget, static_cast<double>(budget)}, {});
}

}  // namespace

TEST_CASE("prompt rows: prompts of one length go in their order") {
  CHECK(shares({}, 128).empty());
  CHECK(shares({100}, 128) == Rows{100});
  CHECK(shares({200, 200, 200}, 128) == Rows{128, 0, 0});
  CHECK(shares({72, 200, 200}, 128) == Rows{72, 56, 0});
  CHECK(shares({8000, 3000}, 128) == Rows{128, 0});
}

TEST_CASE("prompt rows: short ones do not wait behind a long one, which goes on") {
  CHECK(shares({8000, 40}, 128) == Rows{88, 40});
  CHECK(shares({8000, 2000, 40}, 128) == Rows{64, 24, 40});
  CHECK(shares({8000, 50, 40, 30}, 128) == Rows{64, 0, 34, 30});
  CHECK(shares({8000, 8000, 1}, 1) == Rows{1, 0, 0});
  CHECK(shares({8000, 1}, 2) == Rows{1, 1});
}

TEST_CASE("prompt rows: no row is lost, and the oldest has at least half") {
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    Rows left(1 + random() % 6);
    for (std::size_t& rows : left) rows = 1 + random() % (1u << random() % 12);
    const std::size_t budget = random() % 300;
    const Rows rows = shares(left, budget);
    std::size_t sum = 0, all = 0;
    for (std::size_t k = 0; k < left.size(); ++k) {
      REQUIRE(rows[k] <= left[k]);
      sum += rows[k];
      all += left[k];
    }
    REQUIRE(sum == std::min(budget, all));
    REQUIRE(rows[0] >= std::min(left[0], budget - budget / 2));
  }
}

TEST_CASE("prompt rows: a budget of time has fewer rows the deeper they lie") {
  const PromptRowCost cost{100, 0.1};  // us
  const auto rows_of = [&](const std::vector<PromptLeft>& prompts, double us) {
    return share_prompt_rows(prompts, {128, us}, cost);
  };
  CHECK(rows_of({{8000, 0}}, 5000) == Rows{48});
  CHECK(rows_of({{4000, 4000}}, 5000) == Rows{9});
  CHECK(rows_of({{1000, 7000}}, 5000) == Rows{6});
  CHECK(rows_of({{1000, 7000}}, 500) == Rows{1});  // the prompt goes on in any case
  CHECK(rows_of({{3, 7997}}, 5000) == Rows{3});
  CHECK(rows_of({{8000, 0}}, 1e9) == Rows{128});
  // A short prompt has half of the time, which is more than half of the rows.
  CHECK(rows_of({{4000, 4000}, {40, 0}}, 10'000) == Rows{11, 40});
  CHECK(rows_of({{4000, 4000}, {40, 0}}, 4000) == Rows{4, 19});
}
