#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/replacement.h>

#include "cluster.h"

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;

TEST_CASE("cluster: a lost node's layers go to those that are left, which keep theirs") {
  ClusterState state = three_nodes();
  const std::vector<model::LayerRange> thirds = {{0, 10}, {10, 20}, {20, 30}};
  const std::uint64_t id = *place_model(state, spec(30, thirds, {}, 0, {key(9)}));
  CHECK(layout(state, id) == "a:0-9 b:10-19 c:20-29");
  REQUIRE(state.members.leave(key(2), NodeLife::kDead));
  CHECK(state.deployments.on_node(key(2)) == std::vector<std::uint64_t>{id});
  REQUIRE(place_again(state, id).is_ok());
  // There are fewer nodes than ranges: the layers are shared out anew, in order, under another
  // epoch.
  CHECK(layout(state, id) == "a:0-14 c:15-29");
  CHECK(state.deployments.find_id(id)->epoch == id + 1);
  CHECK(state.deployments.find_epoch(id) == nullptr);
  CHECK(state.deployments.find_epoch(id + 1)->id == id);
  CHECK(state.deployments.find_epoch(id + 1)->life == DeploymentLife::kAllowing);
  CHECK(state.deployments.moves() == 1);
  // The deployment still serves whoever opens the model with these ranges; messages of the old
  // epoch are ignored.
  CHECK(state.deployments.find("m", thirds)->id == id);
  CHECK_FALSE(state.deployments.allowed(key(1), id));
  CHECK_FALSE(can_grow(state, *state.deployments.find_id(id)));
  // The node is back and gets the place that it had, whose layers its disk holds.
  REQUIRE(state.join(key(2), hello("b"), true, 22, 0));
  CHECK(can_grow(state, *state.deployments.find_id(id)));
  REQUIRE(place_again(state, id, true).is_ok());
  CHECK(layout(state, id) == "a:0-9 b:10-19 c:20-29");
  // The same holds if two were away and come back in another order.
  for (const std::uint8_t gone : {2, 1}) {
    REQUIRE(state.members.leave(key(gone), NodeLife::kDead));
    REQUIRE(place_again(state, id).is_ok());
  }
  CHECK(layout(state, id) == "c:0-29");
  for (const std::uint8_t back : {2, 1}) {
    REQUIRE(state.join(key(back), hello(back == 1 ? "a" : "b"), true, 30u + back, 0));
    REQUIRE(place_again(state, id, true).is_ok());
  }
  CHECK(layout(state, id) == "a:0-9 b:10-19 c:20-29");
  state.deployments.forget_source(key(9));
  CHECK(state.deployments.find_id(id)->sources.empty());
}

TEST_CASE("cluster: a spare takes the place of a lost node") {
  ClusterState state = three_nodes();
  const std::uint64_t id = *place_model(state, spec(30, {{0, 20}, {20, 30}}));
  CHECK(layout(state, id) == "a:0-19 b:20-29");
  REQUIRE(state.members.leave(key(1), NodeLife::kDead));
  REQUIRE(place_again(state, id).is_ok());
  CHECK(layout(state, id) == "c:0-19 b:20-29");
  // A node on which the deployment failed is not a spare.
  REQUIRE(state.join(key(1), hello("a"), true, 11, 0));
  state.deployments.find_id(id)->unfit.insert(key(3));
  REQUIRE(place_again(state, id).is_ok());
  CHECK(layout(state, id) == "a:0-19 b:20-29");
}

TEST_CASE("cluster: a node that another one cannot reach is left out until it joins again") {
  ClusterState state = three_nodes();
  const std::uint64_t id = *place_model(state, spec(30));
  CHECK(layout(state, id) == "a:0-9 b:10-19 c:20-29");
  Deployment& deployment = *state.deployments.find_id(id);
  deployment.cut_off[key(2)] = "node a did not reach it";
  REQUIRE(place_again(state, id).is_ok());
  CHECK(layout(state, id) == "a:0-14 c:15-29");
  CHECK_FALSE(can_grow(state, deployment));
  deployment.unfit.clear();  // as when a client brings weights, which repairs no connection
  CHECK_FALSE(can_grow(state, deployment));
  REQUIRE(state.members.leave(key(2), NodeLife::kDead));
  REQUIRE(state.join(key(2), hello("b"), true, 22, 0));
  CHECK(can_grow(state, deployment));
}

TEST_CASE("cluster: nobody left: waits, then gives up; memory counts") {
  ClusterState state(100);
  Hello small = hello("a");
  small.memory_bytes = 40u << 20;
  REQUIRE(state.join(key(1), small, true, 1, 0));
  Hello large = hello("b");
  large.memory_bytes = 400u << 20;
  REQUIRE(state.join(key(2), large, true, 2, 0));
  model::MemoryNeed need;
  need.layers.assign(30, 10u << 20);
  // An equal share does not fit into the small node.
  const std::uint64_t id = *place_model(state, spec(30, {}, need));
  CHECK(layout(state, id) == "a:0-3 b:4-29");
  REQUIRE(state.members.leave(key(2), NodeLife::kDead));
  const Status none = place_again(state, id);
  CHECK(none.code() == Code::kResourceExhausted);
  CHECK(none.message().find("260.0 MiB are missing") != std::string::npos);
  REQUIRE(state.members.leave(key(1), NodeLife::kDead));
  CHECK(place_again(state, id).code() == Code::kUnavailable);
  CHECK(layout(state, id) == "a:0-3 b:4-29");
  CHECK(state.deployments.waiting(0).empty());
  Deployment& deployment = *state.deployments.find_id(id);
  for (StagePlan& stage : deployment.stages) stage.weights_bytes = 7;
  state.deployments.wait(id, 1'000'000);
  for (const StagePlan& stage : deployment.stages) CHECK(stage.weights_bytes == 0);
  state.deployments.wait(id, 9'000'000);  // it waits already
  REQUIRE(state.deployments.waiting(9'000'000).size() == 1);
  CHECK_FALSE(state.deployments.waiting(9'000'000).front().second);
  CHECK(state.deployments.waiting(11'000'000).front().second);
  REQUIRE(state.join(key(2), large, true, 22, 0));
  REQUIRE(place_again(state, id).is_ok());
  CHECK(layout(state, id) == "b:0-29");
  CHECK(state.deployments.waiting(20'000'000).empty());
}

TEST_CASE("cluster: a deployment is placed again in the memory that others leave") {
  ClusterState state(100);
  REQUIRE(state.join(key(1), hello_with("a", 20), true, 1, 0));
  REQUIRE(state.join(key(2), hello_with("b", 20), true, 2, 0));
  REQUIRE(
      state.join(key(3), hello_with("c", 0), true, 3, 0));  // offers no memory and holds nothing
  const model::MemoryNeed need = layers_of_a_mib(10);
  const std::uint64_t first = *place_model(state, spec(10, {}, need));
  CHECK(layout(state, first) == "a:0-2 b:3-9");
  const std::uint64_t second = *place_model(state, spec(10, {{0, 8}, {8, 10}}, need));
  CHECK(layout(state, second) == "a:0-7 b:8-9");
  REQUIRE(state.members.leave(key(2), NodeLife::kDead));
  // The memory that the deployment held itself counts as free: 12 MiB, of which it needs 10.
  REQUIRE(place_again(state, first).is_ok());
  CHECK(layout(state, first) == "a:0-9");
  CHECK(state.deployments.find_id(first)->stages[0].planned_bytes == 10u << 20);
  // After that, 10 MiB are left, and the second deployment fits exactly; with less it would not.
  REQUIRE(place_again(state, second).is_ok());
  CHECK(layout(state, second) == "a:0-9");
  REQUIRE(state.join(key(1), hello_with("a", 15), true, 1, 0));
  const Status none = place_again(state, second);
  CHECK(none.code() == Code::kResourceExhausted);
  CHECK(none.message().find("5.0 MiB are missing") != std::string::npos);
  state.deployments.erase(first);
  CHECK(place_again(state, second).is_ok());
  // A deployment grows only onto a node that offers memory.
  CHECK_FALSE(can_grow(state, *state.deployments.find_id(second)));
  REQUIRE(state.join(key(2), hello_with("b", 20), true, 22, 0));
  CHECK(can_grow(state, *state.deployments.find_id(second)));
  REQUIRE(place_again(state, second, true).is_ok());
  CHECK(layout(state, second) == "a:0-7 b:8-9");
}

TEST_CASE("cluster: copies are what each node would need after any one loss") {
  ClusterState state = three_nodes();
  const std::uint64_t id = *place_model(state, spec(30));
  CHECK(layout(state, id) == "a:0-9 b:10-19 c:20-29");
  auto copies = wanted_copies(state, id);
  CHECK(model::to_string(copies.at(key(1))) == "0-14");
  CHECK(model::to_string(copies.at(key(2))) == "0-29");
  CHECK(model::to_string(copies.at(key(3))) == "15-29");
  // Asking changed nothing.
  CHECK(layout(state, id) == "a:0-9 b:10-19 c:20-29");
  CHECK(state.deployments.moves() == 0);
  // A spare would take the place of any node.
  REQUIRE(state.join(key(4), hello("d"), true, 4, 0));
  copies = wanted_copies(state, id);
  CHECK(copies.size() == 4);
  CHECK(model::to_string(copies.at(key(4))) == "0-29");
  CHECK(model::to_string(copies.at(key(2))) == "10-19");
}
