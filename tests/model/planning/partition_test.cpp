#include <algorithm>
#include <cmath>
#include <functional>

#include <catch2/catch.hpp>

#include <troupe/model/planning/partition.h>

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

namespace {

MemoryNeed need_of(std::vector<std::uint64_t> layers, std::uint64_t shared = 0) {
  MemoryNeed need;
  need.layers = std::move(layers);
  need.shared = shared;
  return need;
}

std::vector<LayerRange> place_or_fail(const MemoryNeed& need, std::vector<std::size_t> capacities,
                                      std::vector<std::uint64_t> memories) {
  auto ranges = place_layers(need, need.layers.size(), capacities, memories);
  INFO(ranges.message());
  REQUIRE(ranges.is_ok());
  return *ranges;
}

}  // namespace

TEST_CASE("with memory enough, layers are placed as they are split") {
  const MemoryNeed need = need_of(std::vector<std::uint64_t>(30, 10));
  REQUIRE(place_or_fail(need, {1, 2}, {1000, 1000}) == split_or_fail(30, {1, 2}));
  // A need that is not known fits everywhere. Nodes beyond the number of layers hold nothing.
  auto unknown =
      place_layers({}, 2, std::vector<std::size_t>{1, 1, 1}, std::vector<std::uint64_t>{0, 0, 0});
  REQUIRE(unknown.is_ok());
  REQUIRE(*unknown == std::vector<LayerRange>{{0, 1}, {1, 2}, {2, 2}});
}

TEST_CASE("a node gets no more than fits, and the others what it cannot take") {
  const MemoryNeed need = need_of(std::vector<std::uint64_t>(30, 10));
  REQUIRE(place_or_fail(need, {1, 1}, {50, 1000}) == std::vector<LayerRange>{{0, 5}, {5, 30}});
  REQUIRE(place_or_fail(need, {1, 1}, {1000, 50}) == std::vector<LayerRange>{{0, 25}, {25, 30}});
  REQUIRE(place_or_fail(need, {1, 1, 1}, {100, 9, 200}) ==
          std::vector<LayerRange>{{0, 10}, {10, 10}, {10, 30}});
  // The memory is just enough.
  REQUIRE(place_or_fail(need, {8, 1}, {100, 200}) == std::vector<LayerRange>{{0, 10}, {10, 30}});
}

TEST_CASE("placement finds a way whenever there is one, and only then") {
  for (unsigned seed = 1; seed <= 3000; ++seed) {
    unsigned state = seed * 2654435761u;
    const auto draw = [&](unsigned below) {
      state = state * 1664525u + 1013904223u;
      return (state >> 8) % below;
    };
    MemoryNeed need;
    const std::size_t layers = 1 + draw(9), nodes = 1 + draw(4);
    for (std::size_t i = 0; i < layers; ++i) need.layers.push_back(1 + draw(20));
    // The ends cannot share more than either of them has.
    const auto ends = std::min(need.layers.front(), need.layers.back());
    if (layers > 1) need.shared = draw(static_cast<unsigned>(ends) + 1);
    std::vector<std::size_t> capacities;
    std::vector<std::uint64_t> memories;
    for (std::size_t i = 0; i < nodes; ++i) {
      capacities.push_back(1 + draw(8));
      memories.push_back(draw(60));
    }
    // Try every possible cut.
    std::vector<std::size_t> cuts(nodes + 1, 0);
    cuts[nodes] = layers;
    const std::function<bool(std::size_t)> any = [&](std::size_t node) {
      if (node + 1 == nodes) return need.of({cuts[node], layers}) <= memories[node];
      for (std::size_t end = cuts[node]; end <= layers; ++end) {
        cuts[node + 1] = end;
        if (need.of({cuts[node], end}) <= memories[node] && any(node + 1)) return true;
      }
      return false;
    };
    const bool possible = any(0);
    const auto placed = place_layers(need, layers, capacities, memories);
    INFO("seed " << seed << ": " << placed.message());
    REQUIRE(placed.is_ok() == possible);
    if (!placed) {
      REQUIRE(placed.code() == Code::kResourceExhausted);
      REQUIRE_THAT(placed.message(), Contains("are missing"));
      continue;
    }
    std::size_t begin = 0;
    REQUIRE(placed->size() == nodes);
    for (std::size_t i = 0; i < nodes; ++i) {
      const LayerRange range = (*placed)[i];
      REQUIRE(need.of(range) <= memories[i]);
      if (range.begin == range.end) continue;
      REQUIRE(range.begin == begin);
      begin = range.end;
    }
    REQUIRE(begin == layers);
  }
}

TEST_CASE("what is missing is what one more node would have to bring") {
  const MemoryNeed need = need_of({1024, 1024, 1024, 1024});
  const auto placed =
      place_layers(need, 4, std::vector<std::size_t>{1, 1}, std::vector<std::uint64_t>{1024, 1500});
  REQUIRE_THAT(placed.message(), Contains("needs 4.0 KiB with keys and values, and"));
  REQUIRE_THAT(placed.message(), Contains("the 2 nodes have 2.4 KiB left: 1.6 KiB are missing"));
  // A layer takes 1024 of the first node's 1500 bytes; a few more bytes would not help.
  const auto wasted =
      place_layers(need, 4, std::vector<std::size_t>{1, 1}, std::vector<std::uint64_t>{1500, 1500});
  REQUIRE_THAT(wasted.message(), Contains("the 2 nodes have 2.4 KiB left that whole layers can "
                                          "use: 1.6 KiB are missing"));
  MemoryNeed known = need;
  known.pages = 3;
  known.page_positions = 64;
  const auto one =
      place_layers(known, 4, std::vector<std::size_t>{1}, std::vector<std::uint64_t>{1024});
  REQUIRE_THAT(one.message(), Contains("with keys and values of 192 positions, and the node has"));
}

TEST_CASE("what is said of memory adds up") {
  const auto texts = [](std::uint64_t needed, std::uint64_t there) {
    const MemoryTexts said = memory_texts(needed, there);
    return said.needed + " - " + said.there + " = " + said.missing;
  };
  const std::uint64_t kib = 1024, mib = kib << 10, gib = mib << 10;
  CHECK(texts(700, 0) == "700 B - 0 B = 700 B");
  CHECK(texts(2 * kib, 2 * kib - 1) == "2048 B - 2047 B = 1 B");
  CHECK(texts(300 * mib, 40 * mib) == "300.0 MiB - 40.0 MiB = 260.0 MiB");
  CHECK(texts(3 * gib, 2 * gib) == "3.0 GiB - 2.0 GiB = 1.0 GiB");
  CHECK(texts(3 * gib, 3 * gib - 80 * mib) == "3072.0 MiB - 2992.0 MiB = 80.0 MiB");
  // The need is rounded up, and the memory that is there is rounded down.
  CHECK(texts(3 * gib + 1, 3 * gib) == "3072.1 MiB - 3072.0 MiB = 0.1 MiB");
  // The texts add up for any numbers, and a node that offers the missing amount has enough.
  std::uint64_t state = 1;
  for (int i = 0; i < 20'000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const std::uint64_t needed = (state >> 14 >> (state >> 9) % 44) + 1;
    const std::uint64_t there = needed * ((state >> 3) % 1000) / 1000 % needed;
    const MemoryTexts said = memory_texts(needed, there);
    INFO(needed << " and " << there << ": " << texts(needed, there));
    const auto unit = [](const std::string& text) { return text.substr(text.find(' ')); };
    REQUIRE((unit(said.needed) == unit(said.there) && unit(said.there) == unit(said.missing)));
    const auto number = [](const std::string& text) { return std::llround(std::stod(text) * 10); };
    REQUIRE(number(said.needed) - number(said.there) == number(said.missing));
    const std::string units = "B  KiBMiBGiBTiBPiB";
    const auto power = units.find(unit(said.missing).substr(1)) / 3;
    const auto step = static_cast<long double>(std::uint64_t{1} << 10 * power) / 10;
    REQUIRE(static_cast<long double>(number(said.missing)) * step >=
            static_cast<long double>(needed - there));
  }
}
