#include <limits>

#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/costs.h>

#include "cluster.h"

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;

TEST_CASE("costs: the newest measurement counts, nonsense does not") {
  Costs costs;
  costs.set_layers("m", key(1), cost_of(300), 1000);
  CHECK(costs.measured_since("m", key(1), 1000));
  CHECK_FALSE(costs.measured_since("m", key(1), 1001));
  CHECK_FALSE(costs.measured_since("other", key(1), 0));
  CHECK_FALSE(costs.measured_since("m", key(2), 0));
  model::LayerCost nonsense = cost_of(100);
  nonsense.many.rows_us = std::numeric_limits<double>::quiet_NaN();
  costs.set_layers("m", key(1), nonsense, 3000);
  CHECK_FALSE(costs.measured_since("m", key(1), 3000));
  CHECK(costs.measured_since("m", key(1), 1000));
  costs.forget(key(1));
  CHECK_FALSE(costs.measured_since("m", key(1), 0));
}

TEST_CASE("costs: a plan has the costs of all nodes or of none, and every connection") {
  ClusterState state = three_nodes();
  Costs costs;
  costs.set_layers("m", key(1), cost_of(300), 0);
  costs.set_layers("m", key(2), cost_of(200), 0);
  CHECK(costs.plan_nodes(state.members.all(), "m", key(1)).costs.empty());
  costs.set_layers("m", key(3), cost_of(100), 0);
  costs.set_link(key(1), key(2), {100, 400});
  costs.set_link(key(2), key(3), {-1, 400});  // ignored
  const model::PlanNodes nodes = costs.plan_nodes(state.members.all(), "m", key(2));
  REQUIRE(nodes.costs.size() == 3);
  CHECK(nodes.costs[2].many.row_us == 100);
  CHECK(nodes.engine == std::size_t{1});
  CHECK(nodes.hosts == std::vector<std::size_t>{0, 0, 0});
  REQUIRE(nodes.links.size() == 4);  // the last one is the engine
  CHECK(nodes.links[0][1].latency_us == 100);
  CHECK(nodes.links[1][0].latency_us == 100);  // the other direction stands for this one
  CHECK(nodes.links[0][3].latency_us == 100);
  CHECK(nodes.links[1][2].latency_us == 1000);  // not known
  CHECK(nodes.links[1][3].latency_us == 60);    // within one process
}
