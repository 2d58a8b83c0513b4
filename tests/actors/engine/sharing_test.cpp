#include <cstdlib>
#include <random>

#include "tiny_path.h"

// The engine shares keys and values, evicts them, and lets requests give way to others. No bit of
// any answer, and none of its log-probabilities, may depend on it.

using namespace troupe;
using namespace troupe::actors;

namespace {

constexpr std::size_t kSystem = 150;  // ids that the prompts have in common

EngineLimits sharing_limits() { return {.rows_max = 256, .chunk_rows = 96, .context_max = 400}; }

enum class Kind { kGreedy, kSampled, kSeveral, kPenalties, kStops };
constexpr Kind kKinds[] = {Kind::kGreedy, Kind::kSampled, Kind::kSeveral, Kind::kPenalties,
                           Kind::kStops};

EngineRequest asked(std::uint64_t id, Kind kind, const std::string& owner = "a") {
  EngineRequest out;
  out.id = id;
  out.owner = owner;
  out.prompt = model::test::random_ids(kSystem, 97, 7);
  // The prompts differ only in their last ids; every fifth is the common part alone.
  const auto tail = model::test::random_ids(id % 5 * 9, 97, static_cast<unsigned>(id % 5));
  out.prompt.insert(out.prompt.end(), tail.begin(), tail.end());
  out.max_tokens = 70;
  out.sampling.logprobs = 3;
  if (kind != Kind::kGreedy) {
    out.sampling.temperature = 0.9f;
    out.sampling.seed = 11;
  }
  if (kind == Kind::kSeveral) out.sampling.choice = static_cast<std::uint32_t>(id % 4);
  if (kind == Kind::kPenalties) {
    out.sampling.repeat_penalty = 1.3f;
    out.sampling.presence_penalty = 0.3f;
    out.sampling.frequency_penalty = 0.4f;
  }
  if (kind == Kind::kStops) out.stop = {"ab", "q"};
  return out;
}

void require_invariants(const EngineState& engine) {
  const Status status = engine.check();
  INFO(status.message());
  REQUIRE(status.is_ok());
}

// Runs what was admitted to its end; now and then, a request is preempted.
std::map<std::uint64_t, ToldAnswer> run_engine(EngineState& engine, TinyPath& path,
                                               std::mt19937_64* preempts = nullptr) {
  std::map<std::uint64_t, ToldAnswer> told;
  std::deque<PlannedStep> under_way;
  for (int i = 1; i < 20'000; ++i) {
    while (auto step = engine.next_step()) under_way.push_back(std::move(*step));
    require_invariants(engine);
    if (under_way.empty()) break;
    if (preempts != nullptr && (*preempts)() % 12 == 0) engine.preempt(1 + (*preempts)() % 12);
    const PlannedStep step = std::move(under_way.front());
    under_way.pop_front();
    if (const auto failed = path.admit(step.step)) {
      INFO(failed->outcome.text);
      REQUIRE((failed->no_memory || engine.was_overtaken(step.id)));
      note_events(engine.on_failed(step.id, *failed), &told);
    } else {
      note_events(engine.on_done(step.id, path.compute(step.step), i), &told);
    }
    require_invariants(engine);
  }
  REQUIRE(engine.idle());
  return told;
}

// Returns the number of rounds for each kind of request. TROUPE_SHARING_ROUNDS=N runs more.
int rounds() {
  const char* text = std::getenv("TROUPE_SHARING_ROUNDS");
  return text == nullptr ? 6 : std::atoi(text);
}

// Returns the answers of requests 1 to `count`, each computed alone on stages that hold nothing.
std::map<std::uint64_t, ToldAnswer> alone(TinyPath& path, Kind kind, std::uint64_t count) {
  std::map<std::uint64_t, ToldAnswer> told;
  for (std::uint64_t id = 1; id <= count; ++id) {
    path.lose_everything();
    EngineState engine = new_engine(sharing_limits());
    REQUIRE(engine.admit(asked(id, kind), 0).is_ok());
    told[id] = run_engine(engine, path)[id];
    CHECK(told[id].finished->cached_tokens == 0);
  }
  path.lose_everything();
  return told;
}

}  // namespace

TEST_CASE("sharing: a prefix is computed once, and every answer has the bits that it has alone") {
  TinyPath path;
  for (const Kind kind : kKinds) {
    INFO("kind " << static_cast<int>(kind));
    const auto expected = alone(path, kind, 6);
    EngineState engine = new_engine(sharing_limits());
    path.rows = 0;
    for (std::uint64_t id = 1; id <= 6; ++id) REQUIRE(engine.admit(asked(id, kind), 0).is_ok());
    auto told = run_engine(engine, path);
    std::size_t rows = 0;
    for (const auto& [id, one] : expected) {
      INFO("request " << id);
      require_same(told[id], one);
      CHECK(told[id].finished->cached_tokens == (id == 1 ? 0 : 128));
      rows += one.finished->prompt_ids.size() + one.ids.size() - 1 - (id == 1 ? 0 : 128);
    }
    CHECK(path.rows == rows);
    // Run the first request once more: now its own blocks are there, too, including whole blocks of
    // its answer.
    EngineRequest again = asked(1, kind);
    again.id = 7;
    REQUIRE(engine.admit(again, 0).is_ok());
    told = run_engine(engine, path);
    require_same(told[7], expected.at(1));
    CHECK(told[7].finished->cached_tokens == 128);
    path.lose_everything();
  }
}

TEST_CASE("sharing: a conversation goes on from its own answers") {
  TinyPath path;
  EngineState engine = new_engine(sharing_limits());
  REQUIRE(engine.admit(asked(1, Kind::kGreedy), 0).is_ok());
  const ToldAnswer first = run_engine(engine, path)[1];
  EngineRequest next = asked(2, Kind::kGreedy);
  next.prompt = first.finished->prompt_ids;  // 159 ids
  next.prompt.insert(next.prompt.end(), first.ids.begin(), first.ids.end());
  next.prompt.resize(next.prompt.size() + 20, 5);
  EngineRequest anew = next;
  REQUIRE(engine.admit(next, 0).is_ok());
  const ToldAnswer warm = run_engine(engine, path)[2];
  CHECK(warm.finished->cached_tokens == 192);
  path.lose_everything();
  EngineState cold = new_engine(sharing_limits());
  REQUIRE(cold.admit(anew, 0).is_ok());
  require_same(warm, run_engine(cold, path)[2]);
}

TEST_CASE("sharing: other owners share nothing but what is public") {
  TinyPath path;
  EngineState engine = new_engine(sharing_limits());
  const auto cached = [&](std::uint64_t id, const std::string& owner, const std::string& salt,
                          std::size_t public_ids) {
    EngineRequest one = asked(id, Kind::kGreedy, owner);
    one.prompt = asked(1, Kind::kGreedy).prompt;
    one.salt = salt;
    one.public_ids = public_ids;
    one.max_tokens = 2;
    REQUIRE(engine.admit(one, 0).is_ok());
    return run_engine(engine, path)[id].finished->cached_tokens;
  };
  CHECK(cached(1, "a", "", 0) == 0);
  CHECK(cached(2, "a", "", 0) == 128);
  CHECK(cached(3, "b", "", 0) == 0);
  CHECK(cached(4, "a", "s", 0) == 0);
  // A salt has blocks of its own, whether ids are public or not.
  CHECK(cached(5, "a", "s", 100) == 128);
  CHECK(cached(6, "c", "", 100) == 0);
  CHECK(cached(7, "d", "", 100) == 64);  // one block lies within the public ids
  CHECK(cached(8, "d", "", 100) == 128);
  CHECK(cached(9, "d", "", 0) == 0);
}

TEST_CASE("sharing: requests that are preempted at any time have the same bits") {
  TinyPath path;
  std::mt19937_64 random(5);
  std::uint64_t preempted = 0;
  for (const Kind kind : kKinds) {
    const auto expected = alone(path, kind, 6);
    for (int round = 0; round < rounds(); ++round) {
      INFO("kind " << static_cast<int>(kind) << " round " << round);
      EngineLimits limits = sharing_limits();
      limits.chunk_rows = 1 + random() % 130;
      // There is memory for one, two or all of them: requests evict the blocks that others left,
      // and give way.
      const std::uint64_t blocks[] = {5, 8, 0};
      limits.positions_max = blocks[round % 3] * kBlockPositions;
      limits.stages = 1 + random() % 3;
      limits.steps_in_flight_max = limits.stages + 1;
      EngineState engine = new_engine(limits);
      for (std::uint64_t id = 1; id <= 6; ++id) REQUIRE(engine.admit(asked(id, kind), 0).is_ok());
      auto told = run_engine(engine, path, &random);
      for (const auto& [id, one] : expected) {
        INFO("request " << id);
        require_same(told[id], one);
      }
      preempted += engine.block_counters().preemptions;
      CHECK(engine.blocks().in_use() == 0);
      path.lose_everything();
    }
  }
  CHECK(preempted > 50);
}

TEST_CASE("sharing: a request that is preempted after each of its tokens comes to its end") {
  TinyPath path;
  for (const Kind kind : {Kind::kSampled, Kind::kPenalties}) {
    const auto expected = alone(path, kind, 2);
    EngineState engine = new_engine(sharing_limits());
    for (std::uint64_t id = 1; id <= 2; ++id) REQUIRE(engine.admit(asked(id, kind), 0).is_ok());
    std::map<std::uint64_t, ToldAnswer> told;
    for (int i = 1; engine.active() > 0 && i < 2000; ++i) {
      const auto step = engine.next_step();
      REQUIRE(step);
      const auto events = engine.on_done(step->id, path.run(step->step), i);
      note_events(events, &told);
      for (const EngineEvent& event : events) {
        if (event.token) engine.preempt(event.request);
      }
      require_invariants(engine);
    }
    for (const auto& [id, one] : expected) require_same(told[id], one);
    CHECK(engine.block_counters().preemptions >= 138);
    path.lose_everything();
  }
}

TEST_CASE("sharing: memory is taken block by block, and the youngest gives way when it is short") {
  TinyPath path;
  const auto expected = alone(path, Kind::kSampled, 6);
  EngineLimits limits = sharing_limits();
  // Six requests have four blocks each at the end, two of them shared: there is room for three at
  // once if none has to reserve room for all of its answer.
  limits.positions_max = 7 * kBlockPositions;
  EngineState engine = new_engine(limits);
  for (std::uint64_t id = 1; id <= 6; ++id) {
    REQUIRE(engine.admit(asked(id, Kind::kSampled), 0).is_ok());
  }
  auto told = run_engine(engine, path);
  for (const auto& [id, one] : expected) require_same(told[id], one);
  // The stage has given back everything but the idle blocks, which are within the limit.
  CHECK(path.stage->kv_bytes() == engine.blocks().idle() * path.block_bytes());
  CHECK(engine.blocks().idle() <= 7);
}

TEST_CASE("sharing: memory that shrinks while requests run is given back") {
  TinyPath path;
  const auto expected = alone(path, Kind::kSampled, 4);
  EngineState engine = new_engine(sharing_limits());
  for (std::uint64_t id = 1; id <= 4; ++id) {
    REQUIRE(engine.admit(asked(id, Kind::kSampled), 0).is_ok());
  }
  std::map<std::uint64_t, ToldAnswer> told;
  for (int i = 1; i <= 12; ++i) {
    const auto step = engine.next_step();
    if (!step) break;
    note_events(engine.on_done(step->id, path.run(step->step), i), &told);
  }
  REQUIRE(engine.blocks().in_use() > 5);
  engine.resize(5 * kBlockPositions);
  require_invariants(engine);
  CHECK(engine.blocks().in_use() <= 5);
  for (const auto& [id, rest] : run_engine(engine, path)) told[id].append(rest);
  for (const auto& [id, one] : expected) {
    CHECK(told[id].ids == one.ids);
    CHECK(told[id].finished->text == one.finished->text);
  }
  CHECK(engine.blocks().in_use() + engine.blocks().idle() <= 5);
}

TEST_CASE("sharing: a stage that has less memory than was planned costs no answer") {
  TinyPath path;
  const auto expected = alone(path, Kind::kSampled, 6);
  path.lose_everything(7);
  EngineState engine = new_engine(sharing_limits());
  for (std::uint64_t id = 1; id <= 6; ++id) {
    REQUIRE(engine.admit(asked(id, Kind::kSampled), 0).is_ok());
  }
  auto told = run_engine(engine, path);
  for (const auto& [id, one] : expected) {
    INFO("request " << id);
    require_same(told[id], one);
  }
  CHECK(path.failed > 0);
  // A request that is alone and still too large ends with a sentence.
  path.lose_everything(2);
  EngineState small = new_engine(sharing_limits());
  REQUIRE(small.admit(asked(1, Kind::kSampled), 0).is_ok());
  const ToldAnswer ended = run_engine(small, path)[1];
  CHECK(ended.finished->finish_reason == "error");
  CHECK(ended.finished->outcome.text.find("no memory for the keys and values") !=
        std::string::npos);
}

TEST_CASE("sharing: a replay shares prefixes again") {
  TinyPath path;
  const auto expected = alone(path, Kind::kPenalties, 5);
  EngineState engine = new_engine(sharing_limits());
  for (std::uint64_t id = 1; id <= 5; ++id) {
    REQUIRE(engine.admit(asked(id, Kind::kPenalties), 0).is_ok());
  }
  std::map<std::uint64_t, ToldAnswer> told;
  for (int i = 1; i <= 20; ++i) {
    const auto step = engine.next_step();
    REQUIRE(step);
    note_events(engine.on_done(step->id, path.run(step->step), i), &told);
  }
  path.lose_everything();
  CHECK(engine.halt("b").empty());
  require_invariants(engine);
  engine.resume(sharing_limits());
  path.rows = 0;
  for (const auto& [id, rest] : run_engine(engine, path)) told[id].append(rest);
  std::size_t rows = 0;
  for (const auto& [id, one] : expected) {
    CHECK(told[id].ids == one.ids);
    rows += one.finished->prompt_ids.size() + one.ids.size() - 1 - (id == 1 ? 0 : 128);
  }
  CHECK(path.rows == rows);
}

TEST_CASE("sharing: counts of askers are apart, and add up to those of all") {
  TinyPath path;
  EngineLimits limits;
  limits.context_max = 512;
  limits.positions_max = 8 * kBlockPositions;  // too little for all four
  limits.speculation = Speculation::kAlways;
  EngineState engine = new_engine(limits);
  for (std::uint64_t id = 1; id <= 4; ++id) {
    EngineRequest one;
    one.id = id;
    one.prompt.assign(130, 5);
    one.owner = id % 2 == 0 ? "even" : "odd";
    one.max_tokens = 200;
    one.ignore_end = true;
    REQUIRE(engine.admit(one, 0).is_ok());
  }
  // While they run, the blocks of each are counted, and those that two share count once.
  for (int step = 0; step < 12; ++step) {
    auto planned = engine.next_step();
    REQUIRE(planned);
    engine.on_done(planned->id, path.run(planned->step), 0);
  }
  std::uint64_t held = 0;
  for (const NamedUse& one : engine.asker_uses()) held += one.use.blocks_in_use;
  CHECK(held == engine.blocks().in_use());
  (void)run_engine(engine, path);
  const std::vector<NamedUse> uses = engine.asker_uses();
  REQUIRE(uses.size() == 2);
  CHECK(uses[0].owner == "even");
  CHECK(uses[1].owner == "odd");
  AskerUse sum;
  for (const auto& [owner, use] : uses) {
    CHECK(use.blocks_in_use == 0);
    CHECK(use.prefix_found >= 128);  // the second request's prompt was found
    sum.prefix_queried += use.prefix_queried;
    sum.prefix_found += use.prefix_found;
    sum.preemptions += use.preemptions;
    sum.drafted += use.drafted;
    sum.accepted += use.accepted;
    sum.blocks_idle += use.blocks_idle;
  }
  CHECK(sum.prefix_queried == engine.block_counters().queried);
  CHECK(sum.prefix_found == engine.block_counters().found);
  CHECK(sum.preemptions == engine.block_counters().preemptions);
  CHECK(sum.preemptions > 0);
  CHECK(sum.drafted == engine.draft_counters().drafted);
  CHECK(sum.accepted == engine.draft_counters().accepted);
  CHECK(sum.accepted > 0);
  CHECK(sum.blocks_idle == engine.blocks().idle());
  CHECK(sum.blocks_idle > 0);
}
