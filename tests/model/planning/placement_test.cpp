#include <catch2/catch.hpp>

#include <troupe/model/planning/placement.h>

using namespace troupe;
using namespace troupe::model;

namespace {

MemoryNeed need_of(std::size_t layers, std::uint64_t bytes) {
  MemoryNeed need;
  need.layers.assign(layers, bytes);
  return need;
}

LayerCost cost_of(double row_us) {
  LayerCost cost;
  cost.many.row_us = row_us;
  cost.many.rows_us = 1.5 * row_us;
  cost.prompt_row_us = row_us / 5;
  return cost;
}

// Makes nodes whose connections take 100 us each and carry 400 bytes per microsecond.
PlanNodes nodes_of(const std::vector<double>& row_us, std::uint64_t memory = 1000) {
  PlanNodes nodes;
  for (const double us : row_us) nodes.costs.push_back(cost_of(us));
  nodes.memories.assign(row_us.size(), memory);
  nodes.links.assign(row_us.size() + 1, std::vector<LinkCost>(row_us.size() + 1, {100, 400}));
  return nodes;
}

const PlanShape kShape{30, 576, 32};

std::vector<LayerRange> place_or_fail(const MemoryNeed& need, const PlanNodes& nodes) {
  auto ranges = place_by_cost(need, kShape, nodes);
  INFO(ranges.message());
  REQUIRE(ranges.is_ok());
  std::size_t begin = 0;
  for (std::size_t i = 0; i < ranges->size(); ++i) {
    REQUIRE((*ranges)[i].begin == begin);
    REQUIRE(need.of((*ranges)[i]) <= nodes.memories[i]);
    begin = (*ranges)[i].end;
  }
  REQUIRE(begin == kShape.layers);
  return *ranges;
}

std::vector<std::size_t> counts_of(const std::vector<LayerRange>& ranges) {
  std::vector<std::size_t> counts;
  for (const LayerRange& range : ranges) counts.push_back(range.end - range.begin);
  return counts;
}

}  // namespace

TEST_CASE("plan: streams go where one more costs least, and the slowest share counts") {
  PlanNodes nodes = nodes_of({100});
  nodes.links.assign(2, std::vector<LinkCost>(2, {0.001, 0}));
  const Placement fast{kShape, nodes, {{0, 30}}};
  nodes.costs[0] = cost_of(200);
  const Placement slow{kShape, nodes, {{0, 30}}};
  const Placement both[] = {fast, slow};
  // Rows cost 100, 116.7, 133.3, 150, then 20 more each; on the slow replica they cost 200 and
  // more. So seven streams go to one replica and one to the other.
  const double alone = predict_together(std::span(both).first(1), 8);
  CHECK(alone == Approx(8e6 / (30 * 230 + 80)));
  CHECK(predict_together(both, 8) == Approx(8e6 / (30 * 210 + 80)));
  CHECK_FALSE(replica_pays(both));  // a gain of 9.4 %
  const Placement alike[] = {fast, fast};
  CHECK(predict_together(alike, 8) == Approx(8e6 / (30 * 150 + 80)));
  CHECK(replica_pays(alike));
  const Placement unknown[] = {fast, {kShape, {}, {{0, 30}}}};
  CHECK(replica_pays(unknown));
  nodes.costs[0] = cost_of(5000);
  const Placement useless[] = {fast, {kShape, nodes, {{0, 30}}}};
  CHECK(predict_together(useless, 8) == Approx(alone));
  CHECK_FALSE(replica_pays(useless));
}

TEST_CASE("plan: what a placement takes, by hand") {
  PlanNodes nodes = nodes_of({100, 200});
  nodes.costs[1].many.head_row_us = 500;
  nodes.costs[1].many.head_rows_us = 700;
  const std::vector<LayerRange> ranges = {{0, 20}, {20, 30}};
  const Prediction found = predict(kShape, nodes, ranges);
  // Two stages of 2 ms, the logits, three messages of 100 us and one hidden state of 2304 bytes.
  // The engine takes 100 us, and so does either stage to wake up.
  const double token_us = 2000 + 2000 + 500 + 300 + 2304.0 / 400 + 300;
  CHECK(found.decode_tok_s == Approx(1e6 / token_us));
  // There are two steps of four rows: the second stage takes 3,000 + 700 us for each, plus the time
  // to receive.
  const double step_us = 3700 + 80 + 4 * 2304.0 / 200;
  CHECK(found.streams_tok_s == Approx(8e6 / (2 * step_us)));
  // There are 16 chunks of 32 rows, each of which takes 12.8 ms in either stage, which also sends
  // or receives it.
  const double chunk_us = 32 * 20 * 20 + 80 + 32 * 2304.0 / 200, way_us = 32 * 2304.0 / 400;
  CHECK(found.prompt_tok_s == Approx(512e6 / (2 * chunk_us + 300 + way_us + 15 * chunk_us + 500)));
}

TEST_CASE("plan: layers cost less where few lie together") {
  PlanNodes nodes = nodes_of({100, 100});
  for (LayerCost& cost : nodes.costs) {
    cost.many.layers = 28;
    cost.few = {4, 50, 80, 0, 0};
  }
  CHECK(nodes.costs[0].of(30).row_us == Approx(100));
  CHECK(nodes.costs[0].of(16).row_us == Approx(75));
  CHECK(nodes.costs[0].of(16).rows_us == Approx(115));
  CHECK(nodes.costs[0].of(2).row_us == Approx(50));
  const std::vector<LayerRange> halves = {{0, 16}, {16, 30}};
  const double token_us = 16 * 75 + 14 * (50 + 50 * 10.0 / 24) + 600 + 2304.0 / 400;
  CHECK(predict(kShape, nodes, halves).decode_tok_s == Approx(1e6 / token_us));
}

TEST_CASE("plan: stages on one machine share its CPUs") {
  PlanNodes nodes = nodes_of({100, 100});
  for (LayerCost& cost : nodes.costs) cost.threads = cost.host_cpus = 2;
  const std::vector<LayerRange> halves = {{0, 15}, {15, 30}};
  const Prediction apart = predict(kShape, nodes, halves);
  nodes.hosts = {0, 1};
  CHECK(predict(kShape, nodes, halves).streams_tok_s == Approx(apart.streams_tok_s));
  nodes.hosts = {0, 0};
  const Prediction together = predict(kShape, nodes, halves);
  const double step_us = 15 * 150 + 80 + 4 * 2304.0 / 200;
  CHECK(together.streams_tok_s == Approx(8e6 / (2 * 2 * step_us)));
  CHECK(together.prompt_tok_s < 0.6 * apart.prompt_tok_s);
  CHECK(together.decode_tok_s == Approx(apart.decode_tok_s));
  // With a CPU for each thread, no stage waits.
  for (LayerCost& cost : nodes.costs) cost.host_cpus = 4;
  CHECK(predict(kShape, nodes, halves).prompt_tok_s == Approx(apart.prompt_tok_s));
}

TEST_CASE("plan: a quota counts where a stage has no rest") {
  PlanNodes nodes = nodes_of({100, 100});
  const std::vector<LayerRange> ranges = {{0, 15}, {15, 30}};
  const Prediction whole = predict(kShape, nodes, ranges);
  nodes.costs[1].share = 0.5;
  // A lone stream leaves each stage half of the time, so the quota hardly stops it.
  CHECK(predict(kShape, nodes, ranges).decode_tok_s == Approx(whole.decode_tok_s).epsilon(0.05));
  const double steps_us = 2 * (15 * 150 + 80 + 4 * 2304.0 / 200);
  CHECK(predict(kShape, nodes, ranges).streams_tok_s == Approx(0.5 * 8e6 / steps_us));
  nodes.costs[1].share = 0.1;
  const double step_us = 15 * 100 + 80 + 2304.0 / 200;
  CHECK(predict(kShape, nodes, ranges).decode_tok_s == Approx(0.1e6 / step_us));
  // Steps take longer on the engine's node.
  nodes.engine = 1;
  CHECK(predict(kShape, nodes, ranges).decode_tok_s == Approx(0.1e6 / (step_us + 100)));
}

TEST_CASE("plan: a way that carries little is what counts") {
  PlanNodes nodes = nodes_of({100, 100});
  nodes.links[0][1] = {100, 0.5};
  const std::vector<LayerRange> ranges = {{0, 15}, {15, 30}};
  const Prediction slow = predict(kShape, nodes, ranges);
  CHECK(slow.prompt_tok_s < 0.5e6 / 2304);
  CHECK(slow.streams_tok_s == Approx(0.5e6 / 2304));
}

TEST_CASE("plan: shares go by what a layer costs, and the logits count") {
  const MemoryNeed need = need_of(30, 10);
  CHECK(counts_of(place_or_fail(need, nodes_of({100, 100}))) == std::vector<std::size_t>{15, 15});
  const auto unequal = counts_of(place_or_fail(need, nodes_of({100, 200})));
  CHECK(unequal[0] >= 19);
  CHECK(unequal[0] <= 21);
  const auto three = counts_of(place_or_fail(need, nodes_of({200, 100, 200})));
  CHECK(three[1] > three[0]);
  CHECK(three[1] > three[2]);
  PlanNodes head = nodes_of({100, 100});
  for (LayerCost& cost : head.costs) cost.many.head_row_us = cost.many.head_rows_us = 1000;
  const auto lighter = counts_of(place_or_fail(need, head));
  CHECK(lighter[1] < 15);
}

TEST_CASE("plan: a node that holds the others up gets nothing") {
  const MemoryNeed need = need_of(30, 10);
  CHECK(counts_of(place_or_fail(need, nodes_of({100, 10000}))) == std::vector<std::size_t>{30, 0});
  PlanNodes far = nodes_of({100, 100, 100});
  for (std::size_t i = 0; i < 4; ++i) far.links[2][i] = far.links[i][2] = {100, 0.05};
  const auto counts = counts_of(place_or_fail(need, far));
  CHECK(counts[2] == 0);
  CHECK(counts[0] == counts[1]);
}

TEST_CASE("plan: memory bounds every share, and what is missing is said") {
  const MemoryNeed need = need_of(30, 10);
  PlanNodes nodes = nodes_of({100, 400});
  nodes.memories = {120, 1000};
  CHECK(counts_of(place_or_fail(need, nodes)) == std::vector<std::size_t>{12, 18});
  // The slow node is needed, too.
  nodes.memories = {100, 100};
  const auto short_of = place_by_cost(need, kShape, nodes);
  CHECK(short_of.code() == Code::kResourceExhausted);
  CHECK_THAT(short_of.message(), Catch::Contains("are missing"));
}

TEST_CASE("plan: never worse than equal shares, and the same numbers give the same placement") {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    unsigned state = seed * 2654435761u;
    const auto draw = [&](unsigned below) {
      state = state * 1664525u + 1013904223u;
      return (state >> 8) % below;
    };
    std::vector<double> costs;
    for (std::size_t i = 0, n = 2 + draw(4); i < n; ++i) costs.push_back(50 + draw(400));
    PlanNodes nodes = nodes_of(costs);
    for (auto& row : nodes.links)
      for (LinkCost& way : row) way = {50.0 + draw(1000), 1.0 + draw(500)};
    const MemoryNeed need = need_of(30, 10);
    const auto ranges = place_or_fail(need, nodes);
    CHECK(place_or_fail(need, nodes) == ranges);
    const auto equal = *split_layers(30, std::vector<std::size_t>(nodes.costs.size(), 1));
    const auto time = [&](const std::vector<LayerRange>& placed) {
      const Prediction found = predict(kShape, nodes, placed);
      return 1 / found.streams_tok_s + 1 / found.prompt_tok_s + 0.1 / found.decode_tok_s;
    };
    CHECK(time(ranges) <= time(equal) * (1 + 1e-9));
  }
}
