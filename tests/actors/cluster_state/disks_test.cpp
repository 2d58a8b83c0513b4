#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/disks.h>

#include "cluster.h"

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::test;

TEST_CASE("disks: the live nodes that have layers, and the fewest copies of one") {
  ClusterState state = three_nodes();
  CHECK(state.disks.holders(state.members, "m", {0, 30}, key(9)).empty());
  state.disks.add("m", key(1), {0, 15});
  state.disks.add("m", key(2), {10, 30});
  CHECK(state.disks.holders(state.members, "m", {14, 15}, key(9)) == std::vector{key(1), key(2)});
  CHECK(state.disks.holders(state.members, "m", {14, 15}, key(1)) == std::vector{key(2)});
  CHECK(state.disks.copies_min(state.members, "m", {10, 15}) == 2);
  CHECK(state.disks.copies_min(state.members, "m", {0, 30}) == 1);
  CHECK(state.disks.copies_min(state.members, "n", {0, 30}) == 0);
  CHECK(state.disks.holders(state.members, "m", {0, 10}, key(9)) == std::vector{key(1)});
  CHECK(state.disks.holders(state.members, "n", {0, 10}, key(9)).empty());
  REQUIRE(state.members.leave(key(2), NodeLife::kDead));
  CHECK(state.disks.holders(state.members, "m", {14, 30}, key(9)) == std::vector{key(1)});
}
