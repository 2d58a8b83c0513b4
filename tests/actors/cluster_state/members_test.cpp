#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/cluster_state.h>

#include "cluster.h"

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;

TEST_CASE("cluster: names are unique, a live key cannot be taken") {
  ClusterState state(100);
  CHECK(*state.join(key(1), hello("box"), true, 11, 0) == "box");
  CHECK(*state.join(key(2), hello("box"), true, 22, 0) == "box-2");
  const auto twice = state.join(key(1), hello("box"), true, 12, 0);
  CHECK(twice.code() == Code::kAlreadyExists);
  // The same process lost its connection and came back.
  CHECK(*state.join(key(1), hello("box"), true, 11, 0) == "box");
  // After it died, another process of the same home may take its place.
  REQUIRE(state.members.leave(key(1), NodeLife::kDead));
  CHECK(*state.join(key(1), hello("box"), true, 12, 0) == "box");
}

TEST_CASE("cluster: a node of another arithmetic version is refused in words") {
  ClusterState state(100);
  for (const std::uint32_t theirs : {kArithmeticVersion - 1, kArithmeticVersion + 1}) {
    Hello other = hello("box");
    other.arithmetic = theirs;
    const auto joined = state.join(key(1), other, true, 11, 0);
    CHECK(joined.code() == Code::kFailedPrecondition);
    CHECK(joined.message().find("arithmetic version " + std::to_string(theirs) +
                                ", its cluster by version " + std::to_string(kArithmeticVersion)) !=
          std::string::npos);
    CHECK(joined.message().find("install the head's release") != std::string::npos);
    CHECK(state.members.all().empty());
  }
  // A member that comes back as another release does not take its own place.
  REQUIRE(state.join(key(1), hello("box"), true, 11, 0));
  REQUIRE(state.members.leave(key(1), NodeLife::kDead));
  Hello other = hello("box");
  other.arithmetic = kArithmeticVersion + 1;
  CHECK(state.join(key(1), other, true, 12, 0).code() == Code::kFailedPrecondition);
  CHECK_FALSE(state.members.is_alive(key(1)));
  CHECK(state.join(key(1), hello("box"), true, 13, 0));
}

TEST_CASE("cluster: leases: suspect, dead, fenced, and a stalled observer judges nobody") {
  ClusterState state(100);
  REQUIRE(state.join(key(1), hello("a"), true, 11, 0));
  CHECK(state.members.tick(100'000).empty());
  for (std::int64_t now = 300'000; now <= 1'100'000; now += 200'000) {
    CHECK(state.members.tick(now).empty());
  }
  CHECK(state.members.find(key(1))->life == NodeLife::kSuspect);
  CHECK(state.members.heartbeat(key(1), 11, {}, 1'200'000));
  CHECK(state.members.find(key(1))->life == NodeLife::kReady);
  std::vector<net::PublicKey> died;
  for (std::int64_t now = 1'300'000; now <= 3'500'000 && died.empty(); now += 200'000) {
    died = state.members.tick(now);
  }
  REQUIRE(died.size() == 1);
  CHECK(state.members.find(key(1))->life == NodeLife::kDead);
  // A node that was declared dead is ignored until it joins again.
  CHECK_FALSE(state.members.heartbeat(key(1), 11, {}, 3'600'000));
  REQUIRE(state.join(key(1), hello("a"), true, 11, 3'700'000));
  CHECK(state.members.heartbeat(key(1), 11, {}, 3'800'000));
  CHECK_FALSE(state.members.heartbeat(key(1), 99, {}, 3'800'000));  // another incarnation
  // The head was away for ten seconds: every node gets a fresh lease.
  CHECK(state.members.tick(3'900'000).empty());
  CHECK(state.members.tick(13'900'000).empty());
  CHECK(state.members.find(key(1))->alive());
}

TEST_CASE("cluster: a Hello that repeats one which was answered begins nothing anew") {
  ClusterState state(100);
  Hello first = hello("a");
  first.greeting = 3;
  CHECK_FALSE(state.members.has_greeted(key(1), 11, 3));
  REQUIRE(state.join(key(1), first, true, 11, 0));
  CHECK(state.members.has_greeted(key(1), 11, 3));
  CHECK(state.members.has_greeted(key(1), 11, 2));  // the Hello was on its way for a long time
  CHECK_FALSE(state.members.has_greeted(key(1), 11, 4));  // the node holds nothing any more
  CHECK_FALSE(state.members.has_greeted(key(1), 12, 3));  // another process
  CHECK_FALSE(state.members.has_greeted(key(2), 11, 3));
  REQUIRE(state.members.leave(key(1), NodeLife::kDead));
  CHECK_FALSE(state.members.has_greeted(key(1), 11, 3));
}

TEST_CASE("cluster: a node that cannot be dialled is there, and gets no layers") {
  ClusterState state(100);
  REQUIRE(state.join(key(1), hello("a"), true, 11, 0));
  REQUIRE(state.join(key(2), hello("b"), true, 22, 0));
  CHECK(state.members.workers().size() == 2);
  CHECK(state.members.set_unreachable(key(2), "no answer"));
  CHECK_FALSE(state.members.set_unreachable(key(2), "no answer"));
  CHECK_FALSE(state.members.set_unreachable(key(3), "no answer"));
  CHECK(state.members.is_alive(key(2)));
  CHECK(std::string(state.members.find(key(2))->state()) == "unreachable");
  REQUIRE(state.members.workers().size() == 1);
  CHECK(state.members.workers()[0]->key == key(1));
  CHECK(state.members.set_unreachable(key(2), ""));
  CHECK(std::string(state.members.find(key(2))->state()) == "ready");
  CHECK(state.members.workers().size() == 2);
  REQUIRE(state.members.leave(key(2), NodeLife::kDead));
  state.members.set_unreachable(key(2), "no answer");
  CHECK(std::string(state.members.find(key(2))->state()) == "dead");
}

TEST_CASE("cluster: nodes that offer the same memory share it") {
  Members members;
  const auto pooled = [](const char* name, std::uint64_t mib, const std::string& pool) {
    Hello out = hello_with(name, mib);
    out.memory_pool = pool;
    return out;
  };
  const auto offers = [&](std::uint8_t node) {
    return members.find(key(node))->memory_bytes >> 20;
  };
  REQUIRE(members.join(key(1), pooled("a", 900, "machine"), true, 11, 0));
  CHECK(offers(1) == 900);
  REQUIRE(members.join(key(2), pooled("b", 600, "machine"), true, 22, 0));
  REQUIRE(members.join(key(3), pooled("c", 800, "other"), true, 33, 0));
  REQUIRE(members.join(key(4), pooled("d", 500, ""), true, 44, 0));
  REQUIRE(members.join(key(5), pooled("e", 900, "machine"), /*works=*/false, 55, 0));
  CHECK(offers(1) == 450);
  CHECK(offers(2) == 300);
  CHECK(offers(3) == 800);
  CHECK(offers(4) == 500);
  // A node that joins again, dies or leaves gives its share back.
  REQUIRE(members.join(key(2), pooled("b", 700, "machine"), true, 22, 0));
  CHECK(offers(2) == 350);
  REQUIRE(members.leave(key(2), NodeLife::kLeft));
  CHECK(offers(1) == 900);
  CHECK_FALSE(members.join(key(6), pooled("f", 1, "two\nlines"), true, 66, 0));
}

TEST_CASE("cluster: a name means the node that is alive, else the last one that had it") {
  Members members;
  CHECK(members.find_named("box") == nullptr);
  REQUIRE(members.join(key(1), hello("box"), true, 11, 0));
  REQUIRE(members.leave(key(1), NodeLife::kDead));
  CHECK(members.find_named("box")->key == key(1));
  REQUIRE(members.join(key(2), hello("box"), true, 22, 0));
  CHECK(members.find_named("box")->key == key(2));
  REQUIRE(members.join(key(3), hello("box"), true, 33, 0));  // the node gets another name
  REQUIRE(members.leave(key(3), NodeLife::kLeft));
  CHECK(members.find_named("box")->key == key(2));
  REQUIRE(members.leave(key(2), NodeLife::kDead));
  CHECK(members.find_named("box")->key == key(2));
}

TEST_CASE("cluster: draining lasts as long as the node's process, and keeps layers away") {
  Members members;
  REQUIRE(members.join(key(1), hello("a"), true, 11, 0));
  CHECK(members.set_draining(key(1), true));
  CHECK_FALSE(members.set_draining(key(1), true));
  CHECK_FALSE(members.set_draining(key(9), true));
  CHECK(members.workers().empty());
  CHECK(std::string(members.find(key(1))->state()) == "draining");
  REQUIRE(members.leave(key(1), NodeLife::kDead));
  REQUIRE(members.join(key(1), hello("a"), true, 11, 1));  // the same process, after a cut
  CHECK(members.workers().empty());
  REQUIRE(members.leave(key(1), NodeLife::kLeft));
  REQUIRE(members.join(key(1), hello("a"), true, 12, 2));
  CHECK(members.workers().size() == 1);
  CHECK(std::string(members.find(key(1))->state()) == "ready");
}

TEST_CASE("cluster: nodes that have long been gone are forgotten") {
  Members members;
  constexpr std::int64_t kMinuteUs = 60'000'000;
  REQUIRE(members.join(key(200), hello("alive"), true, 1, 0));
  for (std::uint8_t i = 0; i < 100; ++i) {
    REQUIRE(members.join(key(i), hello("container"), true, 1, i));
    REQUIRE(members.leave(key(i), NodeLife::kDead));
  }
  REQUIRE(members.heartbeat(key(200), 1, {}, 1000));
  CHECK(members.all().size() == 101);
  CHECK(members.tick(1000).empty());
  CHECK(members.all().size() == 65);
  CHECK(members.find(key(99)) != nullptr);
  CHECK(members.find(key(35)) == nullptr);
  for (std::int64_t now = 1000; now < 61 * kMinuteUs; now += 400'000) {
    REQUIRE(members.heartbeat(key(200), 1, {}, now));
    CHECK(members.tick(now).empty());
  }
  REQUIRE(members.all().size() == 1);
  CHECK(members.all()[0]->key == key(200));
}

TEST_CASE("cluster: names that could not be shown or told apart in a list are refused") {
  for (const char* name : {"a", "a b/c", "\xc3\xa9"}) CHECK(check_node_name(name).is_ok());
  for (const char* name : {"a,b", "a\nb", "\xff"}) CHECK_FALSE(check_node_name(name).is_ok());
}
