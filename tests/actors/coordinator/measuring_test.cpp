#include <catch2/catch.hpp>

#include <troupe/actors/coordinator/measuring.h>
#include <troupe/tests/actors/cluster_state/cluster.h>

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::coordinator;
using namespace troupe::actors::test;

TEST_CASE("measuring: nodes that have joined anew since they were told are told once more") {
  ClusterState cluster(100);
  for (std::uint8_t i = 1; i <= 4; ++i) {
    const std::string name(1, static_cast<char>('a' + i - 1));
    REQUIRE(cluster.join(key(i), hello_with(name.c_str(), 12), true, i, 0));
  }
  Measurement measurement;
  measurement.awaited = {key(1), key(2), key(3)};
  for (std::uint8_t i = 1; i <= 4; ++i) {
    const NodeRecord* record = cluster.members.find(key(i));
    measurement.told[key(i)] = {record->incarnation, record->greeting};
  }
  CHECK(joined_anew(measurement, cluster.members).empty());
  // One node was started again, another one has only lost its connection, and a third one, which
  // has answered, came back.
  for (const std::uint8_t i : {1, 2, 4}) REQUIRE(cluster.members.leave(key(i), NodeLife::kDead));
  REQUIRE(cluster.join(key(1), hello_with("a", 12), true, 9, 1));
  Hello again = hello_with("b", 12);
  again.greeting = 2;
  REQUIRE(cluster.join(key(2), again, true, 2, 1));
  REQUIRE(cluster.join(key(4), hello_with("d", 12), true, 9, 1));
  CHECK(joined_anew(measurement, cluster.members) == std::vector<net::PublicKey>{key(1), key(2)});
  // A node that is gone is not awaited, and one that was never told is told in its turn.
  REQUIRE(cluster.members.leave(key(1), NodeLife::kDead));
  measurement.told.erase(key(2));
  CHECK(joined_anew(measurement, cluster.members).empty());
}
