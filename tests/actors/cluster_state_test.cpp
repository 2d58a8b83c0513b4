#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state.h>

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

TEST_CASE("cluster: placing in proportion to threads, or as asked") {
  ClusterState state(100);
  CHECK(state.plan(manifest(), 30, {}, {}).code() == Code::kUnavailable);
  REQUIRE(state.join(key(1), hello("a", 1), true, 1, 0));
  REQUIRE(state.join(key(2), hello("b", 2), true, 2, 0));
  REQUIRE(state.join(key(3), hello("head", 8), false, 3, 0));  // holds no layers
  const auto epoch = state.plan(manifest(), 30, {}, {});
  REQUIRE(epoch);
  CHECK(*epoch == 100);
  const Deployment& deployment = *state.find(*epoch);
  REQUIRE(deployment.stages.size() == 2);
  CHECK(model::to_string(deployment.stages[0].layers) == "0-9");
  CHECK(model::to_string(deployment.stages[1].layers) == "10-29");

  const std::vector<model::LayerRange> split = {{0, 29}, {29, 30}};
  const auto asked = state.plan(manifest(), 30, split, {});
  REQUIRE(asked);
  CHECK(*asked == 101);
  CHECK(state.find("m", split)->epoch == 101);
  CHECK(state.plan(manifest(), 30, {{0, 10}, {11, 30}}, {}).code() == Code::kInvalidArgument);
  CHECK(state.plan(manifest(), 30, {{0, 10}, {10, 20}, {20, 30}}, {}).code() ==
        Code::kInvalidArgument);
}

TEST_CASE("cluster: a deployment is ready when everyone allowed and loaded") {
  ClusterState state(7);
  REQUIRE(state.join(key(1), hello("a"), true, 1, 0));
  REQUIRE(state.join(key(2), hello("b"), true, 2, 0));
  const std::uint64_t epoch = *state.plan(manifest(), 30, {}, {});
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
  const auto epoch = state.plan(manifest(), 10, {}, {}, 0, need);
  REQUIRE(epoch);
  const Deployment* first = state.find(*epoch);
  REQUIRE(first->stages.size() == 2);
  CHECK(first->stages[0].layers == model::LayerRange{0, 3});
  CHECK(first->stages[1].layers == model::LayerRange{3, 10});
  CHECK(first->stages[1].planned_bytes == 7u << 20);
  // The second deployment gets what the first one leaves: 13 MiB on the large node.
  const auto second = state.plan(manifest(), 10, {}, {}, 0, need);
  REQUIRE(second);
  REQUIRE(state.find(*second)->stages.size() == 1);
  CHECK(state.find(*second)->stages[0].node == key(2));
  const auto third = state.plan(manifest(), 10, {}, {}, 0, need);
  REQUIRE(third.code() == Code::kResourceExhausted);
  CHECK(third.message().find("7.0 MiB are missing") != std::string::npos);
  // A person's split is checked, too.
  const auto given = state.plan(manifest(), 10, {{0, 5}, {5, 10}}, {}, 0, need);
  REQUIRE(given.code() == Code::kResourceExhausted);
  CHECK(given.message().find("layers 0-4 need 5.0 MiB") != std::string::npos);
  CHECK(given.message().find("node small has 0 B left") != std::string::npos);
  // What is unloaded is free again.
  state.erase(*second);
  CHECK(state.plan(manifest(), 10, {}, {}, 0, need));
}
