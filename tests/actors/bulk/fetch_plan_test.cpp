#include <algorithm>
#include <deque>
#include <random>

#include <catch2/catch.hpp>

#include <troupe/actors/bulk/fetch_plan.h>

using namespace troupe;
using namespace troupe::actors;

namespace {

net::PublicKey key(std::uint8_t n) {
  net::PublicKey out{};
  out[0] = n;
  return out;
}

// Returns the chunks that a source is asked for now; blobs start from nothing.
std::vector<FetchPlan::Ask> asks(FetchPlan& plan, const net::PublicKey& source) {
  std::vector<FetchPlan::Ask> all;
  for (;;) {
    if (const auto blob = plan.claim(source)) plan.begin(blob->sha256, 0);
    const auto ask = plan.next(source);
    if (!ask) return all;
    all.push_back(*ask);
  }
}

}  // namespace

TEST_CASE("fetch: chunks in order within the window, each blob once, from where it was cut") {
  FetchPlan plan;
  const std::uint64_t big = 20 * FetchPlan::kChunkBytes + 17;
  plan.add({"a", 100});
  plan.add({"b", big});
  plan.add({"a", 100});  // again
  plan.add({"c", 1});
  plan.add({"d", 50});
  REQUIRE(plan.claim(key(1))->sha256 == "a");
  CHECK_FALSE(plan.claim(key(1)));  // first come the chunks of what the source has claimed
  CHECK(plan.begin("a", 100));      // an earlier transfer left all of it
  plan.done("a");
  REQUIRE(plan.claim(key(1))->sha256 == "b");
  CHECK_FALSE(plan.begin("b", 3 * FetchPlan::kChunkBytes));
  std::deque<FetchPlan::Ask> way;
  for (const auto& ask : asks(plan, key(1))) way.push_back(ask);
  CHECK(way.size() == FetchPlan::kWindow);
  CHECK(way.front().offset == 3 * FetchPlan::kChunkBytes);
  std::map<std::string, std::uint64_t> got;
  while (!way.empty()) {
    const auto ask = way.front();
    way.pop_front();
    REQUIRE(plan.expects(key(1), ask.sha256, ask.offset, ask.length));
    CHECK_FALSE(plan.expects(key(2), ask.sha256, ask.offset, ask.length));
    CHECK_FALSE(plan.expects(key(1), ask.sha256, ask.offset + 1, ask.length));
    got[ask.sha256] += ask.length;
    if (plan.on_chunk(key(1), ask.sha256, ask.offset)) plan.done(ask.sha256);
    CHECK_FALSE(plan.expects(key(1), ask.sha256, ask.offset, ask.length));  // not twice
    for (const auto& more : asks(plan, key(1))) way.push_back(more);
    REQUIRE(way.size() <= FetchPlan::kWindow);
  }
  CHECK(plan.complete());
  CHECK(got == std::map<std::string, std::uint64_t>{
                   {"b", big - 3 * FetchPlan::kChunkBytes}, {"c", 1}, {"d", 50}});
}

TEST_CASE("fetch: what a source lacks, spoils or leaves is asked of another") {
  FetchPlan plan;
  for (const char* name : {"a", "b", "c"}) plan.add({name, 10});
  const std::vector<net::PublicKey> both = {key(1), key(2)};
  REQUIRE(asks(plan, key(1)).size() == 3);
  CHECK(asks(plan, key(2)).empty());  // nothing is left for the second source
  CHECK(plan.claimed(key(1), "b") != nullptr);
  plan.lacks(key(1), "b");
  CHECK(plan.claimed(key(1), "b") == nullptr);
  REQUIRE(asks(plan, key(2)).size() == 1);
  CHECK(asks(plan, key(1)).empty());
  // The blob is complete, but its hash is wrong.
  REQUIRE(plan.expects(key(1), "a", 0, 10));
  REQUIRE(plan.on_chunk(key(1), "a", 0));
  plan.lacks(key(1), "a");
  CHECK(plan.expects(key(1), "c", 0, 10));
  CHECK(plan.lose(key(1)) == std::vector<std::string>{"c"});
  CHECK_FALSE(plan.busy(key(1)));
  CHECK(plan.busy(key(2)));
  CHECK(asks(plan, key(2)).size() == 2);
  CHECK_FALSE(plan.hopeless(both));
  plan.lacks(key(2), "a");
  CHECK(plan.hopeless(both));
  CHECK(plan.hopeless({}));
}

TEST_CASE("fetch: chunks that overtake each other are all taken") {
  FetchPlan plan;
  plan.add({"a", 3 * FetchPlan::kChunkBytes});
  plan.add({"b", 10});
  auto way = asks(plan, key(1));
  REQUIRE(way.size() == 4);
  std::reverse(way.begin(), way.end());
  std::vector<std::string> complete;
  for (const auto& ask : way) {
    REQUIRE(plan.expects(key(1), ask.sha256, ask.offset, ask.length));
    if (!plan.on_chunk(key(1), ask.sha256, ask.offset)) continue;
    complete.push_back(ask.sha256);
    plan.done(ask.sha256);
  }
  CHECK(complete == std::vector<std::string>{"b", "a"});
  CHECK(plan.complete());
}

TEST_CASE("fetch: three unreliable sources bring every blob once, whatever happens") {
  for (unsigned seed = 0; seed < 300; ++seed) {
    INFO("seed " << seed);
    std::mt19937 random(seed);
    FetchPlan plan(1 + random() % 6);
    std::map<std::string, std::uint64_t> sizes, got;
    for (int i = 0; i < 12; ++i) {
      const std::string name(1, static_cast<char>('a' + i));
      sizes[name] = random() % (4 * FetchPlan::kChunkBytes);
      plan.add({name, sizes[name]});
    }
    std::set<net::PublicKey> alive = {key(1), key(2), key(3)};
    int done = 0;
    for (int turn = 0; turn < 5000 && !plan.complete(); ++turn) {
      const net::PublicKey source = key(static_cast<std::uint8_t>(1 + random() % 3));
      if (!alive.contains(source)) continue;
      const auto finish = [&](const std::string& name) {
        // The last source is honest and has everything.
        if (source != key(3) && random() % 4 == 0) {
          plan.lacks(source, name);
        } else {
          plan.done(name);
          ++done;
        }
      };
      if (const auto blob = plan.claim(source)) {
        got[blob->sha256] = 0;
        if (plan.begin(blob->sha256, 0)) finish(blob->sha256);
      }
      const auto ask = plan.next(source);
      if (ask && source != key(3) && random() % 5 == 0) plan.lacks(source, ask->sha256);
      if (source != key(3) && random() % 40 == 0) {
        plan.lose(source);
        alive.erase(source);
      }
      for (const auto& [name, bytes] : sizes) {
        const std::uint64_t at = got[name];
        const std::uint64_t length = std::min<std::uint64_t>(FetchPlan::kChunkBytes, bytes - at);
        if (length == 0 || !plan.expects(source, name, at, length)) continue;
        got[name] += length;
        if (plan.on_chunk(source, name, at)) finish(name);
        break;
      }
    }
    REQUIRE(plan.complete());
    REQUIRE(done == 12);
    for (const auto& [name, bytes] : sizes) REQUIRE(got[name] == bytes);
  }
}
