#include <limits>

#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/cluster_state.h>

using namespace troupe;
using namespace troupe::actors;

namespace {

net::PublicKey key(std::uint8_t n) {
  net::PublicKey out{};
  out[0] = n;
  return out;
}

Hello hello(const std::string& name, std::uint32_t threads = 1) {
  Hello out;
  out.name = name;
  out.host = "127.0.0.1";
  out.port = 7700;
  out.threads = threads;
  return out;
}

model::Manifest manifest() {
  model::Manifest out;
  out.model = "m";
  out.name = "model";
  return out;
}

ModelAsk ask(std::size_t layers, std::vector<model::LayerRange> ranges = {},
             const model::MemoryNeed& need = {}, std::size_t channels = 0,
             std::vector<net::PublicKey> sources = {}) {
  ModelAsk out;
  out.manifest = manifest();
  out.layers = layers;
  out.asked = std::move(ranges);
  out.need = need;
  out.channels = channels;
  out.sources = std::move(sources);
  return out;
}

}  // namespace

TEST_CASE("cluster: names are unique, a live key cannot be taken") {
  ClusterState state(100);
  CHECK(*state.join(key(1), hello("box"), true, 11, 0) == "box");
  CHECK(*state.join(key(2), hello("box"), true, 22, 0) == "box-2");
  const auto twice = state.join(key(1), hello("box"), true, 12, 0);
  CHECK(twice.code() == Code::kAlreadyExists);
  // The same process again: it lost its connection and came back.
  CHECK(*state.join(key(1), hello("box"), true, 11, 0) == "box");
  // After it died, another process of the same home may take its place.
  REQUIRE(state.leave(key(1), NodeLife::kDead));
  CHECK(*state.join(key(1), hello("box"), true, 12, 0) == "box");
}

TEST_CASE("cluster: leases: suspect, dead, fenced, and a stalled observer judges nobody") {
  ClusterState state(100);
  REQUIRE(state.join(key(1), hello("a"), true, 11, 0));
  CHECK(state.tick(100'000).empty());
  for (std::int64_t now = 300'000; now <= 1'100'000; now += 200'000) {
    CHECK(state.tick(now).empty());
  }
  CHECK(state.node(key(1))->life == NodeLife::kSuspect);
  CHECK(state.heartbeat(key(1), 11, {}, 1'200'000));
  CHECK(state.node(key(1))->life == NodeLife::kReady);
  std::vector<net::PublicKey> died;
  for (std::int64_t now = 1'300'000; now <= 3'500'000 && died.empty(); now += 200'000) {
    died = state.tick(now);
  }
  REQUIRE(died.size() == 1);
  CHECK(state.node(key(1))->life == NodeLife::kDead);
  // Declared dead: not listened to until it joins again.
  CHECK_FALSE(state.heartbeat(key(1), 11, {}, 3'600'000));
  REQUIRE(state.join(key(1), hello("a"), true, 11, 3'700'000));
  CHECK(state.heartbeat(key(1), 11, {}, 3'800'000));
  CHECK_FALSE(state.heartbeat(key(1), 99, {}, 3'800'000));  // another incarnation
  // We were away for ten seconds: a fresh lease for everyone.
  CHECK(state.tick(3'900'000).empty());
  CHECK(state.tick(13'900'000).empty());
  CHECK(state.node(key(1))->alive());
}

TEST_CASE("cluster: names that could not be shown, or not be told apart in a list") {
  for (const char* name : {"a", "a b/c", "\xc3\xa9"}) CHECK(check_node_name(name).is_ok());
  for (const char* name : {"a,b", "a\nb", "\xff"}) CHECK_FALSE(check_node_name(name).is_ok());
}

TEST_CASE("cluster: placing in proportion to threads, or as asked") {
  ClusterState state(100);
  CHECK(state.plan(ask(30)).code() == Code::kUnavailable);
  REQUIRE(state.join(key(1), hello("a", 1), true, 1, 0));
  REQUIRE(state.join(key(2), hello("b", 2), true, 2, 0));
  REQUIRE(state.join(key(3), hello("head", 8), false, 3, 0));  // holds no layers
  const auto epoch = state.plan(ask(30));
  REQUIRE(epoch);
  CHECK(*epoch == 100);
  const Deployment& deployment = *state.find(*epoch);
  REQUIRE(deployment.stages.size() == 2);
  CHECK(model::to_string(deployment.stages[0].layers) == "0-9");
  CHECK(model::to_string(deployment.stages[1].layers) == "10-29");

  const std::vector<model::LayerRange> split = {{0, 29}, {29, 30}};
  const auto asked = state.plan(ask(30, split));
  REQUIRE(asked);
  CHECK(*asked == 101);
  CHECK(state.find("m", split)->epoch == 101);
  CHECK(state.plan(ask(30, {{0, 10}, {11, 30}})).code() == Code::kInvalidArgument);
  CHECK(state.plan(ask(30, {{0, 10}, {10, 20}, {20, 30}})).code() == Code::kInvalidArgument);
}

namespace {

model::LayerCost cost_of(double row_us) {
  model::LayerCost cost;
  cost.many.row_us = row_us;
  cost.many.rows_us = 1.4 * row_us;
  cost.prompt_row_us = row_us / 6;
  cost.host_cpus = 8;  // all nodes here say the same host
  return cost;
}

}  // namespace

TEST_CASE("cluster: placing by what layers cost, where that is known of every node") {
  ClusterState state(100);
  state.set_head(key(1));
  REQUIRE(state.join(key(1), hello("a"), true, 1, 0));
  REQUIRE(state.join(key(2), hello("b"), true, 2, 0));
  const auto layers_of_a = [&] {
    const auto epoch = state.plan(ask(30, {}, {}, 576));
    REQUIRE(epoch);
    const auto layers = state.find(*epoch)->stages[0].layers;
    state.erase(*epoch);
    return model::to_string(layers);
  };
  state.set_cost("m", key(1), cost_of(300), 1000);
  CHECK(layers_of_a() == "0-14");  // nothing is known of b
  state.set_cost("m", key(2), cost_of(200), 2000);
  state.set_way(key(1), key(2), {100, 400});
  CHECK(layers_of_a() == "0-11");
  CHECK(state.measured_since("m", key(1), 1000));
  CHECK_FALSE(state.measured_since("m", key(1), 1001));
  CHECK_FALSE(state.measured_since("other", key(1), 0));
  // What cannot be a measurement is none.
  model::LayerCost nonsense = cost_of(100);
  nonsense.many.rows_us = std::numeric_limits<double>::quiet_NaN();
  state.set_cost("m", key(2), nonsense, 3000);
  CHECK_FALSE(state.measured_since("m", key(2), 3000));
  // Another split may be looked at without being made, on some nodes only.
  Deployment looked_at;
  looked_at.manifest = manifest();
  looked_at.layers = 30;
  looked_at.channels = 576;
  const auto outlook = state.outlook(looked_at, {"b"});
  REQUIRE(outlook);
  REQUIRE(outlook->ranges == std::vector<model::LayerRange>{{0, 30}});
  CHECK(state.outlook(looked_at, {"c"}).code() == Code::kNotFound);
  CHECK(state.deployments().empty());
  // A node that joins anew may be another machine.
  REQUIRE(state.leave(key(2), NodeLife::kDead));
  REQUIRE(state.join(key(2), hello("b"), true, 3, 0));
  CHECK_FALSE(state.measured_since("m", key(2), 0));
  CHECK(layers_of_a() == "0-14");
}

TEST_CASE("cluster: what is looked at is what would be placed, in an order of before, too") {
  ClusterState state(100);
  REQUIRE(state.join(key(1), hello("a", 1), true, 11, 0));
  REQUIRE(state.join(key(2), hello("b", 2), true, 22, 0));
  state.remember_order("m", {}, {key(2), key(1)});
  Deployment looked_at;
  looked_at.manifest = manifest();
  looked_at.layers = 30;
  const auto outlook = state.outlook(looked_at, {});
  REQUIRE(outlook);
  const auto id = state.plan(ask(30));
  REQUIRE(id);
  const std::vector<StagePlan>& placed = state.find_id(*id)->stages;
  REQUIRE(placed.size() == 2);
  CHECK(placed[0].node == key(2));
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(outlook->nodes[i]->key == placed[i].node);
    CHECK(outlook->ranges[i] == placed[i].layers);
  }
}

TEST_CASE("cluster: a deployment is ready when everyone allowed and loaded") {
  ClusterState state(7);
  REQUIRE(state.join(key(1), hello("a"), true, 1, 0));
  REQUIRE(state.join(key(2), hello("b"), true, 2, 0));
  const std::uint64_t epoch = *state.plan(ask(30));
  CHECK_FALSE(state.loaded(key(1), epoch, 5));  // too early
  CHECK_FALSE(state.allowed(key(1), epoch));
  CHECK_FALSE(state.allowed(key(1), epoch));
  CHECK(state.allowed(key(2), epoch));
  CHECK_FALSE(state.loaded(key(2), epoch, 10));
  CHECK(state.loaded(key(1), epoch, 20));
  CHECK(state.find(epoch)->life == DeploymentLife::kReady);
  CHECK(state.on_node(key(2)) == std::vector<std::uint64_t>{epoch});
  const auto names = state.stage_names(*state.find(epoch));
  REQUIRE(names.size() == 2);
  CHECK(names[1].node == "b");
  state.erase(epoch);
  CHECK(state.find(epoch) == nullptr);
  CHECK_FALSE(state.loaded(key(1), epoch, 5));
}

TEST_CASE("cluster: layers go where there is memory, and what is short is said") {
  ClusterState state(100);
  Hello small = hello("small", 4), large = hello("large", 1);
  small.memory_bytes = 3 << 20;
  large.memory_bytes = 20 << 20;
  REQUIRE(state.join(key(1), small, true, 11, 0));
  REQUIRE(state.join(key(2), large, true, 22, 0));
  model::MemoryNeed need;
  need.layers.assign(10, 1 << 20);
  const auto epoch = state.plan(ask(10, {}, need));
  REQUIRE(epoch);
  const Deployment* first = state.find(*epoch);
  REQUIRE(first->stages.size() == 2);
  CHECK(first->stages[0].layers == model::LayerRange{0, 3});
  CHECK(first->stages[1].layers == model::LayerRange{3, 10});
  CHECK(first->stages[1].planned_bytes == 7u << 20);
  // The second deployment gets what the first one leaves: 13 MiB on the large node.
  const auto second = state.plan(ask(10, {}, need));
  REQUIRE(second);
  REQUIRE(state.find(*second)->stages.size() == 1);
  CHECK(state.find(*second)->stages[0].node == key(2));
  const auto third = state.plan(ask(10, {}, need));
  REQUIRE(third.code() == Code::kResourceExhausted);
  CHECK(third.message().find("7.0 MiB are missing") != std::string::npos);
  // A person's split is checked, too.
  const auto given = state.plan(ask(10, {{0, 5}, {5, 10}}, need));
  REQUIRE(given.code() == Code::kResourceExhausted);
  CHECK(given.message().find("layers 0-4 need 5.0 MiB") != std::string::npos);
  CHECK(given.message().find("node small has 0.0 MiB left: 5.0 MiB are missing") !=
        std::string::npos);
  // What is unloaded is free again.
  state.erase(*second);
  CHECK(state.plan(ask(10, {}, need)));
}

namespace {

std::string layout(ClusterState& state, std::uint64_t id) {
  std::string text;
  for (const StageName& stage : state.stage_names(*state.find_id(id))) {
    text += (text.empty() ? "" : " ") + stage.node + ":" + stage.layers;
  }
  return text;
}

ClusterState three_nodes() {
  ClusterState state(100);
  REQUIRE(state.join(key(1), hello("a"), true, 1, 0));
  REQUIRE(state.join(key(2), hello("b"), true, 2, 0));
  REQUIRE(state.join(key(3), hello("c"), true, 3, 0));
  return state;
}

}  // namespace

TEST_CASE("cluster: a lost node's layers go to those that are left, which keep theirs") {
  ClusterState state = three_nodes();
  const std::vector<model::LayerRange> thirds = {{0, 10}, {10, 20}, {20, 30}};
  const std::uint64_t id = *state.plan(ask(30, thirds, {}, 0, {key(9)}));
  CHECK(layout(state, id) == "a:0-9 b:10-19 c:20-29");
  REQUIRE(state.leave(key(2), NodeLife::kDead));
  CHECK(state.on_node(key(2)) == std::vector<std::uint64_t>{id});
  REQUIRE(state.replace(id).is_ok());
  // Fewer nodes than ranges: shared out anew, in the order of layers, under another epoch.
  CHECK(layout(state, id) == "a:0-14 c:15-29");
  CHECK(state.find_id(id)->epoch == id + 1);
  CHECK(state.find(id) == nullptr);
  CHECK(state.find(id + 1)->id == id);
  CHECK(state.find(id + 1)->life == DeploymentLife::kAllowing);
  CHECK(state.replacements() == 1);
  // Those who ask for the ranges are served by it; what was said for the old epoch is nothing.
  CHECK(state.find("m", thirds)->id == id);
  CHECK_FALSE(state.allowed(key(1), id));
  CHECK_FALSE(state.can_grow(*state.find_id(id)));
  // It is back: used again as was asked, in the place that it had and whose layers its disk holds.
  REQUIRE(state.join(key(2), hello("b"), true, 22, 0));
  CHECK(state.can_grow(*state.find_id(id)));
  REQUIRE(state.replace(id, true).is_ok());
  CHECK(layout(state, id) == "a:0-9 b:10-19 c:20-29");
  // So it is when two were away, and come back in another order.
  for (const std::uint8_t gone : {2, 1}) {
    REQUIRE(state.leave(key(gone), NodeLife::kDead));
    REQUIRE(state.replace(id).is_ok());
  }
  CHECK(layout(state, id) == "c:0-29");
  for (const std::uint8_t back : {2, 1}) {
    REQUIRE(state.join(key(back), hello(back == 1 ? "a" : "b"), true, 30u + back, 0));
    REQUIRE(state.replace(id, true).is_ok());
  }
  CHECK(layout(state, id) == "a:0-9 b:10-19 c:20-29");
  state.forget_source(key(9));
  CHECK(state.find_id(id)->sources.empty());
}

TEST_CASE("cluster: a spare takes the place of a lost node") {
  ClusterState state = three_nodes();
  const std::uint64_t id = *state.plan(ask(30, {{0, 20}, {20, 30}}));
  CHECK(layout(state, id) == "a:0-19 b:20-29");
  REQUIRE(state.leave(key(1), NodeLife::kDead));
  REQUIRE(state.replace(id).is_ok());
  CHECK(layout(state, id) == "c:0-19 b:20-29");
  // A node on which it failed is no spare.
  REQUIRE(state.join(key(1), hello("a"), true, 11, 0));
  state.find_id(id)->unfit.insert(key(3));
  REQUIRE(state.replace(id).is_ok());
  CHECK(layout(state, id) == "a:0-19 b:20-29");
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
  // Equal shares do not fit into the small one.
  const std::uint64_t id = *state.plan(ask(30, {}, need));
  CHECK(layout(state, id) == "a:0-3 b:4-29");
  REQUIRE(state.leave(key(2), NodeLife::kDead));
  const Status none = state.replace(id);
  CHECK(none.code() == Code::kResourceExhausted);
  CHECK(none.message().find("260.0 MiB are missing") != std::string::npos);
  REQUIRE(state.leave(key(1), NodeLife::kDead));
  CHECK(state.replace(id).code() == Code::kUnavailable);
  CHECK(layout(state, id) == "a:0-3 b:4-29");
  CHECK(state.waiting(0).empty());
  Deployment& deployment = *state.find_id(id);
  for (StagePlan& stage : deployment.stages) stage.weights_bytes = 7;
  state.wait(id, 1'000'000);
  for (const StagePlan& stage : deployment.stages) CHECK(stage.weights_bytes == 0);
  state.wait(id, 9'000'000);  // waits already
  REQUIRE(state.waiting(9'000'000).size() == 1);
  CHECK_FALSE(state.waiting(9'000'000).front().second);
  CHECK(state.waiting(11'000'000).front().second);
  REQUIRE(state.join(key(2), large, true, 22, 0));
  REQUIRE(state.replace(id).is_ok());
  CHECK(layout(state, id) == "b:0-29");
  CHECK(state.waiting(20'000'000).empty());
}

TEST_CASE("cluster: a deployment is placed anew in the memory that others leave") {
  ClusterState state(100);
  const auto with = [](const char* name, std::uint64_t mib) {
    Hello node = hello(name);
    node.memory_bytes = mib << 20;
    return node;
  };
  REQUIRE(state.join(key(1), with("a", 20), true, 1, 0));
  REQUIRE(state.join(key(2), with("b", 20), true, 2, 0));
  REQUIRE(state.join(key(3), with("c", 0), true, 3, 0));  // offers nothing: holds nothing
  model::MemoryNeed need;
  need.layers.assign(10, 1 << 20);
  const std::uint64_t first = *state.plan(ask(10, {}, need));
  CHECK(layout(state, first) == "a:0-2 b:3-9");
  const std::uint64_t second = *state.plan(ask(10, {{0, 8}, {8, 10}}, need));
  CHECK(layout(state, second) == "a:0-7 b:8-9");
  REQUIRE(state.leave(key(2), NodeLife::kDead));
  // What it held itself counts as free: 12 MiB of which it needs 10.
  REQUIRE(state.replace(first).is_ok());
  CHECK(layout(state, first) == "a:0-9");
  CHECK(state.find_id(first)->stages[0].planned_bytes == 10u << 20);
  // Then there are 10 MiB left, and the second one fits exactly; with less it would not.
  REQUIRE(state.replace(second).is_ok());
  CHECK(layout(state, second) == "a:0-9");
  REQUIRE(state.join(key(1), with("a", 15), true, 1, 0));
  const Status none = state.replace(second);
  CHECK(none.code() == Code::kResourceExhausted);
  CHECK(none.message().find("5.0 MiB are missing") != std::string::npos);
  state.erase(first);
  CHECK(state.replace(second).is_ok());
  // A node that offers no memory is nothing to grow on; one that does is.
  CHECK_FALSE(state.can_grow(*state.find_id(second)));
  REQUIRE(state.join(key(2), with("b", 20), true, 22, 0));
  CHECK(state.can_grow(*state.find_id(second)));
  REQUIRE(state.replace(second, true).is_ok());
  CHECK(layout(state, second) == "a:0-7 b:8-9");
}

TEST_CASE("cluster: copies are what each node would need after any one loss, and who has them") {
  ClusterState state = three_nodes();
  const std::uint64_t id = *state.plan(ask(30));
  CHECK(layout(state, id) == "a:0-9 b:10-19 c:20-29");
  auto copies = state.copies(id);
  CHECK(model::to_string(copies.at(key(1))) == "0-14");
  CHECK(model::to_string(copies.at(key(2))) == "0-29");
  CHECK(model::to_string(copies.at(key(3))) == "15-29");
  // Nothing was changed by asking.
  CHECK(layout(state, id) == "a:0-9 b:10-19 c:20-29");
  CHECK(state.replacements() == 0);
  // A spare takes anybody's place.
  REQUIRE(state.join(key(4), hello("d"), true, 4, 0));
  copies = state.copies(id);
  CHECK(copies.size() == 4);
  CHECK(model::to_string(copies.at(key(4))) == "0-29");
  CHECK(model::to_string(copies.at(key(2))) == "10-19");

  CHECK(state.holders("m", {0, 30}, key(9)).empty());
  state.holds("m", key(1), {0, 15});
  state.holds("m", key(2), {10, 30});
  CHECK(state.holders("m", {14, 15}, key(9)) == std::vector{key(1), key(2)});
  CHECK(state.holders("m", {14, 15}, key(1)) == std::vector{key(2)});
  CHECK(state.disks("m", {10, 15}) == 2);
  CHECK(state.disks("m", {0, 30}) == 1);
  CHECK(state.disks("n", {0, 30}) == 0);
  CHECK(state.holders("m", {0, 10}, key(9)) == std::vector{key(1)});
  CHECK(state.holders("n", {0, 10}, key(9)).empty());
  REQUIRE(state.leave(key(2), NodeLife::kDead));
  CHECK(state.holders("m", {14, 30}, key(9)) == std::vector{key(1)});
}

TEST_CASE("cluster: replicas lie apart, and fall back on each other's nodes") {
  ClusterState state(100);
  const auto with = [](const char* name, std::uint64_t mib) {
    Hello node = hello(name);
    node.memory_bytes = mib << 20;
    return node;
  };
  REQUIRE(state.join(key(1), with("a", 40), true, 1, 0));
  REQUIRE(state.join(key(2), with("b", 6), true, 2, 0));
  REQUIRE(state.join(key(3), with("c", 6), true, 3, 0));
  model::MemoryNeed need;
  need.layers.assign(10, 1 << 20);
  const std::uint64_t first = *state.plan(ask(10, {{0, 10}}, need));
  CHECK(layout(state, first) == "a:0-9");
  CHECK(state.replicas(*state.find_id(first)) == std::vector<std::uint64_t>{first});
  // An explicit split of one: b alone is too small, and a is taken.
  CHECK(state.plan_replica(first).code() == Code::kResourceExhausted);
  state.erase(first);

  const std::uint64_t eldest = *state.plan(ask(10, {}, need));
  StagePlan whole;
  whole.node = key(1);
  whole.layers = {0, 10};
  whole.planned_bytes = 10u << 20;
  state.find_id(eldest)->stages = {whole};
  const std::uint64_t replica = *state.plan_replica(eldest);
  CHECK(layout(state, replica) == "b:0-4 c:5-9");
  CHECK(state.replicas(*state.find_id(replica)) == std::vector<std::uint64_t>{eldest, replica});
  CHECK(state.find("m", {}) == state.find_id(eldest));
  CHECK(state.plan_replica(eldest).code() == Code::kUnavailable);
  CHECK(state.speeds({eldest, replica}) == std::vector<double>{1, 2});
  // What c lost does not fit on b, and a has room for both.
  REQUIRE(state.leave(key(3), NodeLife::kDead));
  REQUIRE(state.replace(replica).is_ok());
  CHECK(state.find_id(replica)->on(key(1)));
  CHECK(state.find_id(replica)->doubled);
  CHECK_FALSE(state.find_id(eldest)->doubled);
  // Back again, it is apart again.
  REQUIRE(state.join(key(3), with("c", 6), true, 33, 0));
  REQUIRE(state.can_grow(*state.find_id(replica)) == false);
  REQUIRE(state.leave(key(1), NodeLife::kDead));
  REQUIRE(state.replace(replica).is_ok());
  CHECK(layout(state, replica) == "b:0-4 c:5-9");
  CHECK_FALSE(state.find_id(replica)->doubled);
}

TEST_CASE("cluster: a replica that streams would gain little by is not made") {
  ClusterState state(1);
  for (std::uint8_t i = 1; i <= 2; ++i) {
    Hello node = hello(i == 1 ? "a" : "b");
    node.memory_bytes = 20u << 20;
    REQUIRE(state.join(key(i), node, true, i, 0));
  }
  model::MemoryNeed need;
  need.layers.assign(10, 1 << 20);
  const std::uint64_t eldest = *state.plan(ask(10, {{0, 10}}, need, 64));
  CHECK(layout(state, eldest) == "a:0-9");
  // A node that is slower than the eldest's, with all streams, is with one.
  state.set_cost("m", key(1), cost_of(100), 0);
  state.set_cost("m", key(2), cost_of(1000), 0);
  CHECK(state.plan_replica(eldest).code() == Code::kUnavailable);
  state.set_cost("m", key(2), cost_of(100), 0);
  const auto replica = state.plan_replica(eldest);
  INFO(replica.message());
  REQUIRE(replica.is_ok());
  CHECK(layout(state, *replica) == "b:0-9");
}
