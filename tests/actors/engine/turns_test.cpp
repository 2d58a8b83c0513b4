#include <random>

#include "tiny_path.h"

// Tests whose turn it is: shares of keys by weight, jobs after people, and requests that ask for
// too much. The order in which answers come may depend on it, but no bit of any answer.

using namespace troupe;
using namespace troupe::actors;

namespace {

// Makes limits with room for four answers of two blocks each.
EngineLimits limits_of_four() {
  return {.rows_max = 256, .chunk_rows = 96, .context_max = 400, .positions_max = 512};
}

EngineRequest of(std::uint64_t id, const std::string& owner, std::uint32_t weight,
                 std::int32_t priority = 0) {
  EngineRequest out;
  out.id = id;
  out.owner = owner;
  out.weight = weight;
  out.priority = priority;
  out.prompt = model::test::random_ids(20, 97, static_cast<unsigned>(id));
  out.max_tokens = 100;
  out.sampling.temperature = 0.9f;
  out.sampling.seed = id;
  out.sampling.logprobs = 2;
  return out;
}

struct Load {
  TinyPath path;
  EngineState engine;
  std::map<std::uint64_t, ToldAnswer> told;
  std::map<std::string, std::size_t> tokens;  // by owner
  std::map<std::uint64_t, std::string> owners;
  std::vector<std::uint64_t> ended;
  std::int64_t now = 0;

  explicit Load(const EngineLimits& limits) : engine(new_engine(limits)) {}
  void admit(const EngineRequest& request) {
    owners[request.id] = request.owner;
    REQUIRE(engine.admit(request, now).is_ok());
  }
  // Runs a step; returns false if there was nothing to do.
  bool step() {
    const auto planned = engine.next_step(now);
    const Status status = engine.check();
    INFO(status.message());
    REQUIRE(status.is_ok());
    if (!planned) return false;
    now += 1000;
    const auto events = engine.on_done(planned->id, path.run(planned->step), now);
    for (const EngineEvent& event : events) {
      if (event.token) ++tokens[owners.at(event.request)];
      if (event.finished) ended.push_back(event.request);
    }
    note_events(events, &told);
    return true;
  }
  void run_to_the_end() {
    for (int i = 0; i < 20'000 && step(); ++i) {
    }
    REQUIRE(engine.idle());
  }
};

void require_as_alone(const EngineRequest& request, const ToldAnswer& told) {
  EngineLimits limits = limits_of_four();
  limits.positions_max = 0;
  Load alone(limits);
  alone.admit(request);
  alone.run_to_the_end();
  const ToldAnswer& expected = alone.told.at(request.id);
  REQUIRE((told.finished && expected.finished));
  CHECK(told.finished->finish_reason == "length");
  CHECK(told.finished->token_ids == expected.finished->token_ids);
  require_same(told, expected);
}

}  // namespace

TEST_CASE("turns: keys have tokens by their weights, a job what is left over, all the same bits") {
  Load load(limits_of_four());
  std::vector<EngineRequest> requests;
  // The job's lines come first, and the light key before the heavy one.
  for (std::uint64_t id = 1; id <= 4; ++id) requests.push_back(of(id, "client", 1, kJobPriority));
  for (std::uint64_t id = 5; id <= 10; ++id) requests.push_back(of(id, "light", 1));
  for (std::uint64_t id = 11; id <= 20; ++id) requests.push_back(of(id, "heavy", 3));
  for (const EngineRequest& request : requests) load.admit(request);
  while (load.tokens["heavy"] < 900 && load.step()) {
    // The job gets nothing while people wait.
    CHECK(load.tokens["client"] == 0);
  }
  const double light = static_cast<double>(load.tokens["light"]);
  const double heavy = static_cast<double>(load.tokens["heavy"]);
  CAPTURE(light, heavy);
  CHECK(heavy / light == Approx(3).epsilon(0.1));
  load.run_to_the_end();
  CHECK(load.told.size() == requests.size());
  CHECK(load.tokens["client"] == 400);
  for (const EngineRequest& request : requests) require_as_alone(request, load.told[request.id]);
}

TEST_CASE("turns: weights hold with any number of places and lengths of answers") {
  for (const std::uint64_t positions : {256u, 384u, 768u}) {
    EngineLimits limits = limits_of_four();
    limits.positions_max = positions;
    Load load(limits);
    std::mt19937 random(static_cast<unsigned>(positions));
    std::uint64_t id = 0, seen = 0;
    std::map<std::string, int> open;
    for (int i = 0; i < 1500; ++i) {
      for (; seen < load.ended.size(); ++seen) --open[load.owners[load.ended[seen]]];
      // Both keys always have requests that wait.
      for (const std::uint32_t weight : {1u, 3u}) {
        const std::string owner = weight == 1 ? "light" : "heavy";
        for (; open[owner] < 16; ++open[owner]) {
          EngineRequest next = of(++id, owner, weight);
          next.max_tokens = 1 + random() % 90;
          load.admit(next);
        }
      }
      REQUIRE(load.step());
    }
    CAPTURE(positions, load.tokens["light"], load.tokens["heavy"]);
    const double ratio =
        static_cast<double>(load.tokens["heavy"]) / static_cast<double>(load.tokens["light"]);
    CHECK(ratio == Approx(3).epsilon(0.1));
  }
}

TEST_CASE("turns: weights hold where answers outgrow the memory that they began with") {
  EngineLimits limits = limits_of_four();
  limits.context_max = 1000;
  limits.positions_max = 4 * 960;
  Load load(limits);
  std::uint64_t id = 0, seen = 0;
  const auto admit = [&](const std::string& owner) {
    EngineRequest next = of(++id, owner, owner == "light" ? 1 : 3);
    next.max_tokens = 900;
    load.admit(next);
  };
  // All requests start at once, and those of the light key have the smaller numbers.
  for (const char* owner : {"light", "heavy"}) {
    for (int i = 0; i < 8; ++i) admit(owner);
  }
  const auto all = [&] { return load.tokens["light"] + load.tokens["heavy"]; };
  while (all() < 20'000) {
    REQUIRE(load.step());
    for (; seen < load.ended.size(); ++seen) admit(load.owners[load.ended[seen]]);
  }
  CHECK(load.engine.block_counters().preemptions > 0);
  const double light = static_cast<double>(load.tokens["light"]);
  const double heavy = static_cast<double>(load.tokens["heavy"]);
  CAPTURE(light, heavy);
  CHECK(heavy / light == Approx(3).epsilon(0.1));
}

TEST_CASE("turns: one who names many askers has one share") {
  Load load(limits_of_four());
  std::uint64_t id = 0;
  for (int i = 0; i < 16; ++i) {
    EngineRequest many = of(++id, "many\n" + std::to_string(i), 1);
    many.sharer = "many";
    load.admit(many);
    load.owners[id] = "many";
    load.admit(of(++id, "one\n", 1));
  }
  while (load.tokens["one\n"] < 700 && load.step()) {
  }
  CHECK(load.tokens["many"] == Approx(700).epsilon(0.15));
  load.run_to_the_end();
}

TEST_CASE("turns: a job gives its memory to people who come, and goes on with the same bits") {
  Load load(limits_of_four());
  std::vector<EngineRequest> requests;
  for (std::uint64_t id = 1; id <= 4; ++id) requests.push_back(of(id, "client", 1, kJobPriority));
  for (const EngineRequest& request : requests) load.admit(request);
  for (int i = 0; i < 50; ++i) load.step();
  CHECK(load.engine.waiting() == 0);
  for (std::uint64_t id = 5; id <= 8; ++id) {
    requests.push_back(of(id, "person", 1));
    load.admit(requests.back());
  }
  load.step();
  CHECK(load.engine.block_counters().preemptions >= 2);
  // A request with a smaller priority number takes memory, too, and is answered before earlier
  // ones.
  requests.push_back(of(9, "person", 1, -3));
  requests.back().max_tokens = 80;
  load.admit(requests.back());
  load.run_to_the_end();
  CHECK(load.ended.front() == 9);
  // The lines that gave way go on when people's answers have ended.
  const auto place_of = [&](std::uint64_t id) {
    return std::find(load.ended.begin(), load.ended.end(), id) - load.ended.begin();
  };
  for (std::uint64_t id = 5; id <= 9; ++id) CHECK(place_of(id) < place_of(4));
  for (const EngineRequest& request : requests) require_as_alone(request, load.told[request.id]);
}

TEST_CASE("turns: requests of any priority and weight come to their end, at any memory") {
  std::mt19937 random(9);
  for (int round = 0; round < 6; ++round) {
    EngineLimits limits = limits_of_four();
    limits.positions_max = 128 + 64 * (random() % 8);
    Load load(limits);
    std::vector<EngineRequest> requests;
    for (std::uint64_t id = 1; id <= 24; ++id) {
      EngineRequest next = of(id, "key " + std::to_string(random() % 3), 1 + random() % 5,
                              static_cast<std::int32_t>(random() % 4) * 5 - 5);
      next.max_tokens = 1 + random() % 100;
      requests.push_back(next);
      load.admit(next);
      for (std::size_t steps = random() % 12; steps > 0; --steps) load.step();
      if (random() % 8 == 0) load.engine.resize(128 + 64 * (random() % 8));
    }
    load.run_to_the_end();
    for (const EngineRequest& request : requests) {
      REQUIRE(load.told[request.id].finished);
      CHECK(load.told[request.id].finished->token_ids.size() == request.max_tokens);
    }
    require_as_alone(requests[7], load.told[requests[7].id]);
  }
}

TEST_CASE("turns: a key that asks for everything leaves places and memory to others") {
  Load load(limits_of_four());
  std::uint64_t id = 0, refused = 0;
  for (int i = 0; i < 400; ++i) {
    EngineRequest greedy = of(++id, "greedy", 1);
    greedy.max_tokens = 380;
    const Status status = load.engine.admit(greedy, 0);
    load.owners[id] = "greedy";
    if (status) continue;
    ++refused;
    CHECK(status.code() == Code::kResourceExhausted);
    CHECK(status.message().find("more than half of the 256 places") != std::string::npos);
  }
  CHECK(refused == 400 - 224);
  for (int i = 0; i < 30; ++i) load.step();
  EngineRequest other = of(++id, "other", 1);
  other.max_tokens = 20;
  load.admit(other);
  const std::uint64_t asked = id;
  // The request begins as soon as one of the others has ended or given way.
  int steps = 0;
  while (!load.told[asked].finished && steps < 1000) {
    REQUIRE(load.step());
    ++steps;
  }
  CHECK(load.ended.size() <= 3);
}

TEST_CASE("turns: of 10,000 requests of one token, those that find a place are answered") {
  Load load(limits_of_four());
  std::uint64_t refused = 0, admitted = 0;
  std::int64_t promised = 0;
  for (std::uint64_t id = 1; id <= 10'000; ++id) {
    EngineRequest one = of(id, "key " + std::to_string(id % 7), 1);
    one.prompt.resize(3);
    one.max_tokens = 1;
    load.owners[id] = one.owner;
    const Status status = load.engine.admit(one, load.now);
    admitted += status.is_ok();
    if (!status) {
      ++refused;
      const std::int64_t wait = load.engine.wait_for_place_us(load.now);
      CHECK(wait >= 1'000'000);
      CHECK(wait <= 300'000'000);
      CHECK(load.now + wait >= promised);
      promised = load.now + wait;
    }
    if (id % 50 == 0) load.step();
  }
  load.run_to_the_end();
  CHECK(refused > 1000);
  CHECK(load.ended.size() == admitted);
  CHECK(load.engine.blocks().in_use() == 0);
  CHECK(load.engine.shares().size() == 0);
}

TEST_CASE("turns: the wait for a place follows the pace at which requests end") {
  EngineLimits limits = limits_of_four();
  limits.requests_max = 2;
  Load load(limits);
  std::uint64_t id = 0;
  // A request ends every 20 steps of 200 ms. The hours in which nobody asks do not count.
  for (int i = 0; i < 60; ++i) {
    if (i % 10 == 9) load.now += 3'600'000'000;
    EngineRequest next = of(++id, "a", 1);
    next.max_tokens = 20;
    load.admit(next);
    while (!load.told[id].finished) {
      load.now += 199'000;
      REQUIRE(load.step());
    }
  }
  const std::int64_t first = load.engine.wait_for_place_us(load.now);
  CHECK(first == Approx(4.2e6).epsilon(0.15));
  CHECK(load.engine.wait_for_place_us(load.now) ==
        Approx(2.0 * static_cast<double>(first)).epsilon(0.05));
  CHECK(load.engine.wait_for_place_us(load.now + 100'000'000) ==
        Approx(static_cast<double>(first)).epsilon(0.05));
}

TEST_CASE("turns: beside answers, the rows of a prompt take a bounded time of a step") {
  // The costs of a small model on two cores: 4 ms for a step of answers, 200 us for a row of a
  // prompt, and 0.5 us more for each position before it.
  EngineLimits limits = {
      .steps_in_flight_max = 2, .rows_max = 256, .chunk_rows = 128, .context_max = 8192};
  EngineState engine = new_engine(limits);
  std::int64_t now = 1000;
  const auto cost_of = [](const Step& step, bool whole) {
    double us = 500;
    for (const StepSegment& s : step.segments) {
      const bool is_answer = s.count == 1 && s.position >= s.prompt;
      if (!is_answer && !whole) continue;
      const double depth = s.position + (s.count - 1) / 2.0;
      us += is_answer ? 250 + 0.5 * depth : s.count * (200 + 0.5 * depth);
    }
    return static_cast<std::int64_t>(us);
  };
  std::deque<std::pair<PlannedStep, std::int64_t>>
      under_way;  // a stage computes one step at a time
  std::map<std::uint64_t, std::int64_t> last, first;
  double longest = 0;  // between two tokens, as a part of the time of a step without prompts
  const auto work = [&] {
    while (auto step = engine.next_step(now)) under_way.emplace_back(std::move(*step), now);
    REQUIRE_FALSE(under_way.empty());
    const PlannedStep step = under_way.front().first;
    under_way.pop_front();
    now += cost_of(step.step, true);
    const auto alone_us = static_cast<double>(cost_of(step.step, false));
    StepDone done;
    for (const StepSegment& s : step.step.segments) {
      if (s.sample) done.tokens.push_back({s.request, s.position + s.count, 5});
    }
    for (const EngineEvent& event : engine.on_done(step.id, done, now)) {
      if (!event.token) continue;
      const auto before = last.find(event.request);
      if (before != last.end()) {
        longest = std::max(longest, static_cast<double>(now - before->second) / alone_us);
      }
      last[event.request] = now;
      first.emplace(event.request, now);
    }
  };
  const auto ask = [&](std::uint64_t id, std::size_t prompt, std::uint32_t tokens) {
    EngineRequest request;
    request.id = id;
    request.prompt = model::test::random_ids(prompt, 97, static_cast<unsigned>(id));
    request.max_tokens = tokens;
    REQUIRE(engine.admit(request, now).is_ok());
  };
  // Alone.
  ask(100, 8000, 1);
  std::int64_t began = now;
  while (!first.contains(100)) work();
  const std::int64_t alone = now - began;
  // There are 15 answers, whose tokens take 4.3 ms without prompts.
  for (std::uint64_t id = 1; id <= 15; ++id) ask(id, 20, 4000);
  for (int i = 0; i < 100; ++i) work();
  longest = 0;
  ask(101, 8000, 1);
  began = now;
  for (int i = 0; i < 60; ++i) work();
  const std::int64_t brief_began = now;
  ask(102, 40, 4);
  while (!first.contains(102)) work();
  CHECK(now - brief_began < 60'000);
  while (!first.contains(101)) work();
  CAPTURE(longest, alone, now - began);
  CHECK(longest < 4);
  CHECK(now - began < alone * 5 / 2);
}
