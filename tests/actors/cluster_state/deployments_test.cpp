#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/placement.h>

#include "cluster.h"

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;

TEST_CASE("cluster: a deployment is ready when all its nodes have let peers in and loaded") {
  ClusterState state(7);
  REQUIRE(state.join(key(1), hello("a"), true, 1, 0));
  REQUIRE(state.join(key(2), hello("b"), true, 2, 0));
  const std::uint64_t epoch = *place_model(state, spec(30));
  CHECK_FALSE(state.loaded(key(1), epoch, 5));  // too early
  CHECK_FALSE(state.deployments.allowed(key(1), epoch));
  CHECK_FALSE(state.deployments.allowed(key(1), epoch));
  CHECK(state.deployments.allowed(key(2), epoch));
  CHECK_FALSE(state.loaded(key(2), epoch, 10));
  CHECK(state.loaded(key(1), epoch, 20));
  CHECK(state.deployments.find_epoch(epoch)->life == DeploymentLife::kReady);
  CHECK(state.deployments.on_node(key(2)) == std::vector<std::uint64_t>{epoch});
  const auto names = state.stage_names(*state.deployments.find_epoch(epoch));
  REQUIRE(names.size() == 2);
  CHECK(names[1].node == "b");
  CHECK(state.deployments.wants(key(2), epoch));
  CHECK_FALSE(state.deployments.wants(key(3), epoch));
  CHECK_FALSE(state.deployments.wants(key(2), epoch - 1));
  state.deployments.at(epoch).kept.emplace_back(key(2), epoch - 1);
  CHECK(state.deployments.wants(key(2), epoch - 1));
  CHECK_FALSE(state.deployments.wants(key(1), epoch - 1));
  state.deployments.erase(epoch);
  CHECK(state.deployments.find_epoch(epoch) == nullptr);
  CHECK_FALSE(state.deployments.wants(key(2), epoch));
  CHECK_FALSE(state.loaded(key(1), epoch, 5));
}
