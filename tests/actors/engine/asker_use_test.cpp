#include <algorithm>

#include <catch2/catch.hpp>

#include <troupe/actors/engine/asker_use.h>

// Tests what is counted of each asker.

using namespace troupe;
using namespace troupe::actors;

TEST_CASE("asker use: those that were counted last are remembered") {
  AskerUses uses;
  for (std::size_t i = 0; i < AskerUses::kAskersMax; ++i) {
    uses.of(std::to_string(i)).preemptions = i + 1;
  }
  uses.of("0").drafted = 7;
  for (int i = 0; i < 10; ++i) uses.of("new " + std::to_string(i)).accepted = 1;
  const std::vector<NamedUse> all = uses.all();
  REQUIRE(all.size() == AskerUses::kAskersMax);
  const auto find = [&](const std::string& owner) {
    return std::find_if(all.begin(), all.end(),
                        [&](const NamedUse& one) { return one.owner == owner; });
  };
  REQUIRE(find("0") != all.end());
  CHECK(find("0")->use.preemptions == 1);
  CHECK(find("0")->use.drafted == 7);
  for (int i = 1; i <= 10; ++i) CHECK(find(std::to_string(i)) == all.end());
  CHECK(find("11") != all.end());
  CHECK(find("new 9") != all.end());
}
