#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/placement.h>

#include "cluster.h"

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;

TEST_CASE("cluster: layers are placed in proportion to threads, or as asked") {
  ClusterState state(100);
  CHECK(place_model(state, spec(30)).code() == Code::kUnavailable);
  REQUIRE(state.join(key(1), hello("a", 1), true, 1, 0));
  REQUIRE(state.join(key(2), hello("b", 2), true, 2, 0));
  REQUIRE(state.join(key(3), hello("head", 8), false, 3, 0));  // holds no layers
  const auto epoch = place_model(state, spec(30));
  REQUIRE(epoch);
  CHECK(*epoch == 100);
  const Deployment& deployment = *state.deployments.find_epoch(*epoch);
  REQUIRE(deployment.stages.size() == 2);
  CHECK(model::to_string(deployment.stages[0].layers) == "0-9");
  CHECK(model::to_string(deployment.stages[1].layers) == "10-29");

  const std::vector<model::LayerRange> split = {{0, 29}, {29, 30}};
  const auto asked = place_model(state, spec(30, split));
  REQUIRE(asked);
  CHECK(*asked == 101);
  CHECK(state.deployments.find("m", split)->epoch == 101);
  CHECK(place_model(state, spec(30, {{0, 10}, {11, 30}})).code() == Code::kInvalidArgument);
  CHECK(place_model(state, spec(30, {{0, 10}, {10, 20}, {20, 30}})).code() ==
        Code::kInvalidArgument);
}

TEST_CASE("cluster: layers are placed by what they cost if that is known for every node") {
  ClusterState state(100);
  state.head = key(1);
  REQUIRE(state.join(key(1), hello("a"), true, 1, 0));
  REQUIRE(state.join(key(2), hello("b"), true, 2, 0));
  const auto layers_of_a = [&] {
    const auto epoch = place_model(state, spec(30, {}, {}, 576));
    REQUIRE(epoch);
    const auto layers = state.deployments.find_epoch(*epoch)->stages[0].layers;
    state.deployments.erase(*epoch);
    return model::to_string(layers);
  };
  state.costs.set_layers("m", key(1), cost_of(300), 1000);
  CHECK(layers_of_a() == "0-14");  // nothing is known about b
  state.costs.set_layers("m", key(2), cost_of(200), 2000);
  state.costs.set_link(key(1), key(2), {100, 400});
  CHECK(layers_of_a() == "0-11");
  // A placement can be previewed without being made, even on only some of the nodes.
  const Deployment previewed(spec(30, {}, {}, 576));
  const auto preview = preview_placement(state, previewed, {"b"});
  REQUIRE(preview);
  REQUIRE(preview->ranges == std::vector<model::LayerRange>{{0, 30}});
  CHECK(preview_placement(state, previewed, {"c"}).code() == Code::kNotFound);
  CHECK(state.deployments.all().empty());
  // A node that joins again may be another machine.
  REQUIRE(state.members.leave(key(2), NodeLife::kDead));
  REQUIRE(state.join(key(2), hello("b"), true, 3, 0));
  CHECK(layers_of_a() == "0-14");
}

TEST_CASE("cluster: a preview shows what would be placed, also in a remembered order") {
  ClusterState state(100);
  REQUIRE(state.join(key(1), hello("a", 1), true, 11, 0));
  REQUIRE(state.join(key(2), hello("b", 2), true, 22, 0));
  state.orders.remember("m", {}, {key(2), key(1)});
  const Deployment previewed(spec(30));
  const auto preview = preview_placement(state, previewed, {});
  REQUIRE(preview);
  const auto id = place_model(state, spec(30));
  REQUIRE(id);
  const std::vector<StagePlan>& placed = state.deployments.find_id(*id)->stages;
  REQUIRE(placed.size() == 2);
  CHECK(placed[0].node == key(2));
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(preview->nodes[i]->key == placed[i].node);
    CHECK(preview->ranges[i] == placed[i].layers);
  }
}

TEST_CASE("cluster: layers go where there is memory, and an error says what is short") {
  ClusterState state(100);
  Hello small = hello("small", 4), large = hello("large", 1);
  small.memory_bytes = 3 << 20;
  large.memory_bytes = 20 << 20;
  REQUIRE(state.join(key(1), small, true, 11, 0));
  REQUIRE(state.join(key(2), large, true, 22, 0));
  const model::MemoryNeed need = layers_of_a_mib(10);
  const auto epoch = place_model(state, spec(10, {}, need));
  REQUIRE(epoch);
  const Deployment* first = state.deployments.find_epoch(*epoch);
  REQUIRE(first->stages.size() == 2);
  CHECK(first->stages[0].layers == model::LayerRange{0, 3});
  CHECK(first->stages[1].layers == model::LayerRange{3, 10});
  CHECK(first->stages[1].planned_bytes == 7u << 20);
  // The second deployment gets what the first one leaves: 13 MiB on the large node.
  const auto second = place_model(state, spec(10, {}, need));
  REQUIRE(second);
  REQUIRE(state.deployments.find_epoch(*second)->stages.size() == 1);
  CHECK(state.deployments.find_epoch(*second)->stages[0].node == key(2));
  const auto third = place_model(state, spec(10, {}, need));
  REQUIRE(third.code() == Code::kResourceExhausted);
  CHECK(third.message().find("7.0 MiB are missing") != std::string::npos);
  // A split that a person asked for is checked, too.
  const auto given = place_model(state, spec(10, {{0, 5}, {5, 10}}, need));
  REQUIRE(given.code() == Code::kResourceExhausted);
  CHECK(given.message().find("layers 0-4 need 5.0 MiB") != std::string::npos);
  CHECK(given.message().find("node small has 0.0 MiB left: 5.0 MiB are missing") !=
        std::string::npos);
  // Memory of an unloaded deployment is free again.
  state.deployments.erase(*second);
  CHECK(place_model(state, spec(10, {}, need)));
}

TEST_CASE("cluster: a node without any room is not one without a bound") {
  ClusterState state(100);
  Hello pooled = hello_with("a", 20);
  pooled.memory_pool = "machine";
  REQUIRE(state.join(key(1), pooled, true, 11, 0));
  model::MemoryNeed need = layers_of_a_mib(10);
  const auto unknown = place_model(state, spec(10, {}, need));
  REQUIRE(unknown);
  CHECK(positions_max(state, *state.deployments.find_epoch(*unknown)) == 0);
  state.deployments.erase(*unknown);
  need.page_bytes = 64 << 10;  // a layer's page; half of each layer's MiB
  need.pages = 8;
  need.page_positions = 64;
  const auto epoch = place_model(state, spec(10, {}, need));
  REQUIRE(epoch);
  const Deployment& deployment = *state.deployments.find_epoch(*epoch);
  // The 15 MiB beside the weights hold 24 pages of ten layers.
  CHECK(positions_max(state, deployment) == 24 * 64);
  // Four more nodes of its machine leave it 4 MiB, less than its weights.
  for (std::uint8_t n = 2; n <= 5; ++n) {
    pooled.name = "node-" + std::to_string(n);
    REQUIRE(state.join(key(n), pooled, true, 11 * n, 0));
  }
  CHECK(positions_max(state, deployment) == 64);
}
