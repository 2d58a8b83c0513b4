#include <catch2/catch.hpp>

#include <troupe/model/partition.h>

using namespace troupe;
using namespace troupe::model;
using Catch::Matchers::Contains;

namespace {
std::vector<LayerRange> split_or_fail(std::size_t layers, std::vector<std::size_t> capacities) {
  auto ranges = split_layers(layers, capacities);
  REQUIRE(ranges.is_ok());
  return *ranges;
}
}  // namespace

TEST_CASE("equal nodes get equal shares") {
  REQUIRE(split_or_fail(30, {1}) == std::vector<LayerRange>{{0, 30}});
  REQUIRE(split_or_fail(30, {1, 1, 1}) == std::vector<LayerRange>{{0, 10}, {10, 20}, {20, 30}});
  REQUIRE(split_or_fail(7, {2, 2}) == std::vector<LayerRange>{{0, 4}, {4, 7}});
}

TEST_CASE("shares follow capacity, but nobody goes without") {
  REQUIRE(split_or_fail(30, {1, 2}) == std::vector<LayerRange>{{0, 10}, {10, 30}});
  REQUIRE(split_or_fail(4, {1000, 1, 1}) == std::vector<LayerRange>{{0, 2}, {2, 3}, {3, 4}});
  REQUIRE(split_or_fail(4, {1, 1, 1000}) == std::vector<LayerRange>{{0, 1}, {1, 2}, {2, 4}});
}

TEST_CASE("every split covers the model once, in order") {
  for (std::size_t layers = 1; layers <= 40; ++layers)
    for (std::size_t nodes = 1; nodes <= layers; ++nodes) {
      std::vector<std::size_t> capacities;
      for (std::size_t i = 0; i < nodes; ++i) capacities.push_back(1 + (i * 7 + layers) % 5);
      REQUIRE(check_layer_ranges(split_or_fail(layers, capacities), layers, nodes).is_ok());
    }
}

TEST_CASE("impossible splits say why") {
  REQUIRE_THAT(split_layers(4, {}).message(), Contains("no node"));
  const std::vector<std::size_t> five(5, 1), zero{1, 0};
  REQUIRE_THAT(split_layers(4, five).message(), Contains("4 layers over 5 nodes"));
  REQUIRE_THAT(split_layers(4, zero).message(), Contains("node 1"));
}

TEST_CASE("ranges given by a person are checked") {
  const auto check = [](std::vector<LayerRange> ranges, std::size_t nodes = 8) {
    return check_layer_ranges(ranges, 30, nodes);
  };
  REQUIRE(check({{0, 10}, {10, 20}, {20, 30}}).is_ok());
  REQUIRE_THAT(
      check({{0, 10}, {11, 30}}).message(),
      Contains("layers 10-10 are missing before 11-29") || Contains("layers 10 are missing"));
  REQUIRE_THAT(check({{0, 10}, {9, 30}}).message(), Contains("9-29 overlap"));
  REQUIRE_THAT(check({{0, 29}}).message(), Contains("missing at the end"));
  REQUIRE_THAT(check({{0, 31}}).message(), Contains("past the model"));
  REQUIRE_THAT(check({{1, 30}}).message(), Contains("missing before"));
  REQUIRE_THAT(check({}).message(), Contains("no layers"));
  REQUIRE_THAT(check({{0, 10}, {10, 30}}, 1).message(), Contains("2 layer ranges"));
  REQUIRE(check({{5, 5}}).code() == Code::kInvalidArgument);
}
