#include <fstream>

#include <catch2/catch.hpp>

#include <troupe/actors/node/measured_costs.h>
#include <troupe/runtime/file.h>
#include <troupe/tests/actors/temporary_home.h>

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::node;

namespace {

const MeasuredWhat kWhat{"this machine", "model:1", 1, 32};
constexpr std::int64_t kNow = 5'000'000'000;

model::LayerCost cost_of(double row_us) {
  model::LayerCost cost;
  cost.many = {10, row_us, 2 * row_us, 3, 4};
  cost.prompt_row_us = row_us / 3;
  cost.threads = 2;
  return cost;
}

std::optional<double> row_us(const MeasuredCosts& costs, const MeasuredWhat& what,
                             std::int64_t now_us = kNow) {
  const auto cost = costs.find(what, now_us);
  return cost ? std::optional(cost->many.row_us) : std::nullopt;
}

}  // namespace

TEST_CASE("measured costs: a node that is started again knows what it measured") {
  const TemporaryHome folder;
  const auto file = folder.path / "measured";
  MeasuredCosts(file).keep(kWhat, cost_of(7.25), kNow);
  const MeasuredCosts again(file);
  CHECK(row_us(again, kWhat) == 7.25);
  CHECK(again.find(kWhat, kNow)->prompt_row_us == 7.25 / 3);
  for (const MeasuredWhat& other :
       {MeasuredWhat{"another machine", kWhat.model, kWhat.kv, kWhat.chunk_rows},
        MeasuredWhat{kWhat.place, "model:2", kWhat.kv, kWhat.chunk_rows},
        MeasuredWhat{kWhat.place, kWhat.model, 0, kWhat.chunk_rows},
        MeasuredWhat{kWhat.place, kWhat.model, kWhat.kv, 64}}) {
    CHECK(row_us(again, other) == std::nullopt);
  }
}

TEST_CASE("measured costs: they are good for ten minutes, and the newest count") {
  MeasuredCosts costs{{}};
  costs.keep(kWhat, cost_of(1), kNow);
  CHECK(row_us(costs, kWhat, kNow + kMeasuredFreshUs) == 1.0);
  CHECK(row_us(costs, kWhat, kNow + kMeasuredFreshUs + 1) == std::nullopt);
  CHECK(row_us(costs, kWhat, kNow - 1) == std::nullopt);  // the machine was started since
  costs.keep(kWhat, cost_of(2), kNow);
  CHECK(row_us(costs, kWhat) == 2.0);
  for (std::size_t i = 0; i < MeasuredCosts::kModelsMax; ++i) {
    costs.keep({kWhat.place, "model " + std::to_string(i), 0, 1}, cost_of(3), kNow);
  }
  CHECK(row_us(costs, kWhat) == std::nullopt);
}

TEST_CASE("measured costs: a damaged file holds nothing") {
  const TemporaryHome folder;
  const auto file = folder.path / "measured";
  MeasuredCosts(file).keep(kWhat, cost_of(1), kNow);
  const auto whole = read_file(file, 1 << 20);
  REQUIRE(whole);
  for (std::size_t i = 0; i < whole->size(); ++i) {
    std::string damaged = *whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    std::ofstream(file, std::ios::binary) << damaged;
    REQUIRE(row_us(MeasuredCosts(file), kWhat) == std::nullopt);
    std::ofstream(file, std::ios::binary) << whole->substr(0, i);
    REQUIRE(row_us(MeasuredCosts(file), kWhat) == std::nullopt);
  }
  std::ofstream(file, std::ios::binary) << *whole;
  CHECK(row_us(MeasuredCosts(file), kWhat) == 1.0);
}
