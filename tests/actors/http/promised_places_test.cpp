#include <algorithm>
#include <deque>
#include <map>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/actors/http/promised_places.h>

using namespace troupe::http;

namespace {

// A server with `places` places, one of which becomes free every `between_us`, and clients that
// come ten times as fast. Every `obey`-th client waits as it was told; the others never come back.
struct Crowd {
  PromisedPlaces promises;
  std::size_t places = 24, taken = 0;
  std::size_t complete = 0, refused = 0;
  std::int64_t between_us = 50'000;
  struct Waiting {
    std::uint64_t who = 0;
    std::int64_t asked_us = 0, first_wait_us = 0;
  };
  std::multimap<std::int64_t, Waiting> waiting;
  std::vector<double> over_estimate;

  void ask(Waiting one, bool obeys, std::int64_t now_us) {
    const bool back = promises.comes_back(one.who, now_us);
    const std::size_t kept = std::min(places / 8, promises.kept(now_us));
    if (taken < (back ? places : places - kept)) {
      ++taken;
      if (one.first_wait_us > 0) {
        over_estimate.push_back(static_cast<double>(now_us - one.asked_us) /
                                static_cast<double>(one.first_wait_us));
      }
      return;
    }
    ++refused;
    const double wait_s =
        promises.promise_s(one.who, back, static_cast<double>(between_us) * 1e-6, now_us);
    if (wait_s < 1 || wait_s > 60) FAIL(wait_s << " s");
    const auto wait_us = static_cast<std::int64_t>(wait_s * 1e6);
    if (one.first_wait_us == 0) one.first_wait_us = wait_us;
    if (obeys) waiting.emplace(now_us + wait_us + 2'000, one);
  }
  void run(std::int64_t until_us, std::uint64_t obey) {
    std::uint64_t who = 1;
    for (std::int64_t now_us = 1'000'000; now_us < until_us; now_us += 1'000) {
      if (now_us % between_us == 0 && taken > 0) {
        --taken;
        ++complete;
      }
      while (!waiting.empty() && waiting.begin()->first <= now_us) {
        const Waiting one = waiting.begin()->second;
        waiting.erase(waiting.begin());
        ask(one, true, now_us);
      }
      if (now_us % (between_us / 10) == 0) {
        ++who;
        ask({who, now_us, 0}, who % obey == 0, now_us);
      }
    }
  }
};

}  // namespace

TEST_CASE("promised places: whoever waits as told ends within five times the estimate") {
  for (const std::uint64_t obey : {std::uint64_t{200}, std::uint64_t{20}, std::uint64_t{4}}) {
    Crowd crowd;
    crowd.run(120'000'000, obey);
    INFO("one of " << obey << " obeys");
    REQUIRE(crowd.over_estimate.size() > 4);
    std::sort(crowd.over_estimate.begin(), crowd.over_estimate.end());
    CHECK(crowd.over_estimate[crowd.over_estimate.size() * 99 / 100] < 5);
    CHECK(crowd.over_estimate[crowd.over_estimate.size() / 2] < 1.5);
    // Keeping places wastes none of them.
    CHECK(crowd.complete > 119 * 20 * 0.95);
  }
}

TEST_CASE("promised places: a promise holds once, about when it is due, and lapses") {
  PromisedPlaces promises;
  CHECK(!promises.comes_back(7, 1'000'000));
  const double wait_s = promises.promise_s(7, false, 0.1, 1'000'000);
  CHECK(wait_s == Approx(1));
  CHECK(promises.kept(1'000'000) == 1);
  CHECK(!promises.comes_back(7, 1'500'000));
  CHECK(!promises.comes_back(8, 2'000'000));
  CHECK(promises.comes_back(7, 2'001'000));
  CHECK(!promises.comes_back(7, 2'001'000));
  promises.promise_s(9, false, 0.1, 3'000'000);
  CHECK(promises.kept(5'000'000) == 1);
  CHECK(promises.kept(7'000'000) == 0);
  CHECK(!promises.comes_back(9, 7'000'000));
  // However many clients ask, the list is bounded, and so is the wait.
  double longest_s = 0;
  for (std::uint64_t who = 100; who < 40'000; ++who) {
    longest_s = std::max(longest_s, promises.promise_s(who, false, 1, 8'000'000));
  }
  CHECK(longest_s <= 60);
  CHECK(promises.kept(8'000'000) <= 16'384);
}
