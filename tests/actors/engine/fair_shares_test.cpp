#include <map>
#include <string>

#include <catch2/catch.hpp>

#include <troupe/actors/engine/fair_shares.h>

using namespace troupe::actors;

TEST_CASE("fair shares: whoever had least for its weight is next") {
  FairShares shares;
  shares.begin("a", 1);
  shares.begin("b", 3);
  std::map<std::string, int> had;
  for (int i = 0; i < 4000; ++i) {
    const std::string next = shares.had("a") <= shares.had("b") ? "a" : "b";
    shares.charge(next, 10);
    ++had[next];
  }
  CHECK(had["b"] == Approx(3 * had["a"]).epsilon(0.01));
}

TEST_CASE("fair shares: nobody saves up turns, and a debt is not forgotten by going away") {
  FairShares shares;
  shares.begin("a", 1);
  shares.charge("a", 1000);
  shares.begin("late", 1);
  CHECK(shares.had("late") == 1000);
  shares.charge("a", 500);
  shares.end("a");
  shares.begin("a", 1);
  CHECK(shares.had("a") == 1500);
  CHECK(shares.had("a", 10) == 1510);
  shares.end("a");
  shares.end("late");
  CHECK(shares.size() == 0);
  CHECK(shares.had("a") == 0);
}

TEST_CASE("fair shares: weights have bounds, and so has what is remembered") {
  FairShares shares;
  shares.begin("all", 4'000'000'000u);
  shares.begin("none", 0);
  shares.charge("all", 100);
  shares.charge("none", 100);
  shares.charge("nobody", 100);
  CHECK(shares.had("all") == 1);
  CHECK(shares.had("none") == 100);
  for (int i = 0; i < 3000; ++i) {
    const std::string name = "asker " + std::to_string(i);
    shares.begin(name, 1);
    shares.charge(name, 100'000);
    shares.end(name);
  }
  CHECK(shares.size() <= 1026);
}
