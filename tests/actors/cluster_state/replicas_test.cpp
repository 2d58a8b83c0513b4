#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/replacement.h>
#include <troupe/actors/cluster_state/replicas.h>

#include "cluster.h"

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;

TEST_CASE("cluster: replicas lie apart, and fall back on each other's nodes") {
  ClusterState state(100);
  REQUIRE(state.join(key(1), hello_with("a", 40), true, 1, 0));
  REQUIRE(state.join(key(2), hello_with("b", 6), true, 2, 0));
  REQUIRE(state.join(key(3), hello_with("c", 6), true, 3, 0));
  const model::MemoryNeed need = layers_of_a_mib(10);
  const std::uint64_t first = *place_model(state, spec(10, {{0, 10}}, need));
  CHECK(layout(state, first) == "a:0-9");
  CHECK(state.deployments.replicas(*state.deployments.find_id(first)) ==
        std::vector<std::uint64_t>{first});
  // With an explicit split of one range, b alone is too small, and a is taken.
  CHECK(place_replica(state, first).code() == Code::kResourceExhausted);
  state.deployments.erase(first);

  const std::uint64_t eldest = *place_model(state, spec(10, {}, need));
  StagePlan whole;
  whole.node = key(1);
  whole.layers = {0, 10};
  whole.planned_bytes = 10u << 20;
  state.deployments.find_id(eldest)->stages = {whole};
  const std::uint64_t replica = *place_replica(state, eldest);
  CHECK(layout(state, replica) == "b:0-4 c:5-9");
  CHECK(state.deployments.replicas(*state.deployments.find_id(replica)) ==
        std::vector<std::uint64_t>{eldest, replica});
  CHECK(state.deployments.find("m", {}) == state.deployments.find_id(eldest));
  CHECK(place_replica(state, eldest).code() == Code::kUnavailable);
  CHECK(stream_speeds(state, {eldest, replica}) == std::vector<double>{1, 2});
  // The layers of c do not fit on b, and a has room for both.
  REQUIRE(state.members.leave(key(3), NodeLife::kDead));
  REQUIRE(place_again(state, replica).is_ok());
  CHECK(state.deployments.find_id(replica)->on(key(1)));
  CHECK(state.deployments.find_id(replica)->doubled);
  CHECK_FALSE(state.deployments.find_id(eldest)->doubled);
  // When c is back, the replica lies apart again.
  REQUIRE(state.join(key(3), hello_with("c", 6), true, 33, 0));
  REQUIRE(can_grow(state, *state.deployments.find_id(replica)) == false);
  REQUIRE(state.members.leave(key(1), NodeLife::kDead));
  REQUIRE(place_again(state, replica).is_ok());
  CHECK(layout(state, replica) == "b:0-4 c:5-9");
  CHECK_FALSE(state.deployments.find_id(replica)->doubled);
}

TEST_CASE("cluster: a replica that streams would gain little by is not made") {
  ClusterState state(1);
  for (std::uint8_t i = 1; i <= 2; ++i) {
    Hello node = hello(i == 1 ? "a" : "b");
    node.memory_bytes = 20u << 20;
    REQUIRE(state.join(key(i), node, true, i, 0));
  }
  const model::MemoryNeed need = layers_of_a_mib(10);
  const std::uint64_t eldest = *place_model(state, spec(10, {{0, 10}}, need, 64));
  CHECK(layout(state, eldest) == "a:0-9");
  // A node that is much slower than the node of the eldest adds too little.
  state.costs.set_layers("m", key(1), cost_of(100), 0);
  state.costs.set_layers("m", key(2), cost_of(1000), 0);
  CHECK(place_replica(state, eldest).code() == Code::kUnavailable);
  state.costs.set_layers("m", key(2), cost_of(100), 0);
  const auto replica = place_replica(state, eldest);
  INFO(replica.message());
  REQUIRE(replica.is_ok());
  CHECK(layout(state, *replica) == "b:0-9");
}
