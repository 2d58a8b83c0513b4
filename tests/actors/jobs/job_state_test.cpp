#include <random>

#include <catch2/catch.hpp>

#include <troupe/actors/jobs/job_state.h>

using namespace troupe;
using namespace troupe::actors;

namespace {

JobRecord job(std::uint64_t number, std::uint32_t shards, const std::string& kind = "count") {
  JobRecord record;
  record.number = number;
  record.id = "job-" + std::to_string(number);
  record.kind = kind;
  record.shards = shards;
  record.life = JobLife::kRunning;
  return record;
}

}  // namespace

TEST_CASE("jobs: shards go out in order, one a slot, to workers that take the kind") {
  JobState state(100);
  state.add(job(1, 3), {}, false);
  state.add(job(2, 1, "other"), {}, false);
  CHECK(state.assign(0).empty());
  CHECK_FALSE(state.has_worker("count"));
  state.set_worker("a", {"count"}, 1);
  state.set_worker("b", {"count", "other"}, 2);
  const auto given = state.assign(0);
  REQUIRE(given.size() == 3);
  CHECK((given[0].worker == "a" && given[0].from == 0 && given[0].attempt == 100));
  CHECK((given[1].worker == "b" && given[1].from == 1));
  CHECK((given[2].worker == "b" && given[2].from == 2 && given[2].job == 1));
  CHECK(state.assign(0).empty());
  CHECK_FALSE(state.ends_with(given[0]));
  state.done(given[0].attempt);
  state.done(given[0].attempt);    // said twice: counts once
  CHECK(state.assign(0).empty());  // "a" does not take the other kind
  state.done(given[1].attempt);
  const auto other = state.assign(0);
  REQUIRE(other.size() == 1);
  CHECK((other[0].job == 2 && other[0].worker == "b"));
  CHECK(state.ends_with(given[2]));
  CHECK(state.ends_with(other[0]));
  CHECK(state.running(1) == 1);
  const auto dropped = state.end(1);
  REQUIRE(dropped.size() == 1);
  CHECK(dropped[0].from == 2);
  CHECK(state.task(given[2].attempt) == nullptr);
}

TEST_CASE("jobs: finished shards of an earlier run are not mapped again") {
  JobState state(1);
  JobRecord before = job(1, 5);
  before.merged = 2;
  state.add(before, {0, 1, 3}, true);
  state.set_worker("a", {"count"}, 9);
  const auto given = state.assign(0);
  REQUIRE(given.size() == 2);
  CHECK((given[0].from == 2 && given[1].from == 4));
  for (const JobTask& task : given) {
    CHECK_FALSE(state.ends_with(task));
    state.done(task.attempt);
  }
  const auto merge = state.assign(0);
  REQUIRE(merge.size() == 1);
  CHECK((merge[0].merge && merge[0].from == 2 && merge[0].to == 5));
  CHECK(state.ends_with(merge[0]));
}

TEST_CASE("jobs: results merge in shard order, whatever the order they came in") {
  JobState state(1);
  const std::uint32_t shards = 2 * JobState::kMergedAtOnceMax + 3;
  state.add(job(1, shards), {}, true);
  state.set_worker("a", {"count"}, shards);
  auto given = state.assign(0);
  REQUIRE(given.size() == shards);
  std::mt19937 random(7);
  std::shuffle(given.begin(), given.end(), random);
  std::uint32_t merged = 0;
  const auto merge_all = [&] {
    for (auto tasks = state.assign(0); !tasks.empty(); tasks = state.assign(0)) {
      REQUIRE(tasks.size() == 1);  // one at a time: each needs the result of the one before
      REQUIRE(tasks[0].merge);
      CHECK(tasks[0].from == merged);
      merged = tasks[0].to;
      CHECK(state.ends_with(tasks[0]) == (merged == shards));
      state.done(tasks[0].attempt);
    }
  };
  for (const JobTask& task : given) {
    state.done(task.attempt);
    merge_all();
  }
  CHECK(merged == shards);
}

TEST_CASE("jobs: a merge that is too large for one message takes fewer shards") {
  JobState state(1);
  state.add(job(1, 4), {0, 1, 2, 3}, true);
  state.set_worker("a", {"count"}, 1);
  auto merge = state.assign(0);
  REQUIRE(merge.size() == 1);
  state.shorten(merge[0].attempt, 2);
  CHECK_FALSE(state.ends_with(*state.task(merge[0].attempt)));
  state.done(merge[0].attempt);
  merge = state.assign(0);
  REQUIRE(merge.size() == 1);
  CHECK((merge[0].from == 2 && merge[0].to == 4));
}

TEST_CASE("jobs: a lost worker's shards go to others, and late answers do not count") {
  JobState state(1);
  state.add(job(1, 2), {}, false);
  state.set_worker("a", {"count"}, 2);
  const auto first = state.assign(0);
  REQUIRE(first.size() == 2);
  state.set_worker("b", {"count"}, 2);
  const auto lost = state.lose_worker("a", 10);
  REQUIRE(lost.size() == 2);
  CHECK(lost[0].failed.is_ok());
  const auto again = state.assign(10);
  REQUIRE(again.size() == 2);
  CHECK((again[0].worker == "b" && again[0].from == 0 && again[0].attempt > first[1].attempt));
  CHECK(state.task(first[0].attempt) == nullptr);
  state.done(first[0].attempt);
  CHECK(state.running(1) == 2);
  CHECK_FALSE(state.fail(first[0].attempt, Status(Code::kBadData, "late"), 11));
}

TEST_CASE("jobs: a shard that takes workers with it ends its job, not the cluster") {
  JobState state(1);
  state.add(job(1, 1), {}, false);
  for (std::size_t i = 0; i < JobState::kLossesMax; ++i) {
    const std::string name = "node-" + std::to_string(i);
    state.set_worker(name, {"count"}, 1);
    REQUIRE(state.assign(0).size() == 1);
    const auto lost = state.lose_worker(name, 0);
    REQUIRE(lost.size() == 1);
    CHECK(lost[0].failed.is_ok() == (i + 1 < JobState::kLossesMax));
    if (!lost[0].failed) {
      CHECK(lost[0].failed.message() ==
            "shard 0 was lost with 3 workers (node-0, node-1, node-2): it is not given to another "
            "one");
    }
  }
}

TEST_CASE("jobs: what may pass is tried again after longer and longer pauses, and not for ever") {
  JobState state(1);
  state.add(job(1, 2), {}, false);
  state.set_worker("a", {"count"}, 1);
  const Status busy(Code::kUnavailable, "nobody holds the model");
  std::int64_t now = 0, before = 0;
  for (std::size_t tries = 1;; ++tries) {
    auto given = state.assign(now);
    REQUIRE(given.size() == 1);
    if (given[0].from == 1) {  // while shard 0 pauses, the other one goes on
      state.done(given[0].attempt);
      given = state.assign(now);
      if (given.empty()) {
        now = *state.next_try_us();
        given = state.assign(now);
      }
      REQUIRE(given.size() == 1);
    }
    const auto setback = state.fail(given[0].attempt, busy, now);
    REQUIRE(setback);
    if (!setback->failed) {
      CHECK(tries == JobState::kFailuresMax);
      CHECK(setback->failed.message() == "shard 0: nobody holds the model (12 tries)");
      break;
    }
    const auto next = state.next_try_us();
    REQUIRE(next);
    const std::int64_t pause = *next - now;
    CHECK(pause >= before);
    CHECK(pause <= 10'000'000);
    before = pause;
    if (tries > 1) CHECK(state.assign(*next - 1).empty());
    if (tries > 1) now = *next;
  }
}

TEST_CASE("jobs: what is wrong with a shard itself ends its job at once") {
  JobState state(1);
  state.add(job(1, 1), {}, false);
  state.set_worker("a", {"count"}, 1);
  const auto given = state.assign(0);
  const auto setback =
      state.fail(given[0].attempt, Status(Code::kBadData, "line 3 is not a number"), 0);
  REQUIRE(setback);
  CHECK(setback->failed.code() == Code::kBadData);
  CHECK(setback->failed.message() == "shard 0: line 3 is not a number");
}
