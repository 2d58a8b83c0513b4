#include <algorithm>
#include <random>

#include "tiny_path.h"

// Prompts whose ids are scored: whatever the chunks, the company, and however often a request is
// computed again, the log-probabilities are those of one pass over the prompt alone, bit for bit.

using namespace troupe;
using namespace troupe::actors;

namespace {

using Scores = std::vector<std::vector<model::TokenLogprob>>;

constexpr std::uint32_t kTop = 3;

EngineLimits scoring_limits(std::size_t chunk_rows) {
  return {.rows_max = 256, .chunk_rows = chunk_rows, .context_max = 400};
}

EngineRequest asked(std::uint64_t id, std::uint32_t max_tokens, std::uint32_t prompt_logprobs) {
  EngineRequest out;
  out.id = id;
  out.prompt = model::test::random_ids(150, 97, 7);
  const auto tail = model::test::random_ids(id % 5 * 9, 97, static_cast<unsigned>(id % 5));
  out.prompt.insert(out.prompt.end(), tail.begin(), tail.end());
  out.max_tokens = max_tokens;
  out.prompt_logprobs = prompt_logprobs;
  return out;
}

std::map<std::uint64_t, ToldAnswer> run(EngineState& engine, TinyPath& path,
                                        std::mt19937_64* preempts = nullptr) {
  std::map<std::uint64_t, ToldAnswer> told;
  std::deque<PlannedStep> under_way;
  for (int i = 1; i < 5000; ++i) {
    while (auto step = engine.next_step(2 * i)) under_way.push_back(std::move(*step));
    if (under_way.empty()) break;
    if (preempts != nullptr && (*preempts)() % 4 == 0) engine.preempt(1 + (*preempts)() % 8);
    const PlannedStep step = std::move(under_way.front());
    under_way.pop_front();
    if (const auto failed = path.admit(step.step)) {
      INFO(failed->outcome.text);
      REQUIRE(engine.was_overtaken(step.id));
      note_events(engine.on_failed(step.id, *failed), &told);
    } else {
      note_events(engine.on_done(step.id, path.compute(step.step), 2 * i + 1), &told);
    }
    const Status sound = engine.check();
    INFO(sound.message());
    REQUIRE(sound.is_ok());
  }
  REQUIRE(engine.idle());
  return told;
}

// Returns the scores by one pass over the whole prompt, without an engine.
Scores by_hand(TinyPath& path, const std::vector<model::TokenId>& prompt) {
  const auto sequence = path.stage->new_sequence();
  const model::Segment segment{sequence.get(), 0, prompt.size(), model::LogitRows::kAll};
  model::StepInput input;
  input.segments = {&segment, 1};
  input.token_ids = prompt;
  model::StepOutput output;
  REQUIRE(path.stage->forward(input, &output).is_ok());
  Scores scores;
  const std::size_t vocabulary = path.config.vocabulary;
  for (std::size_t i = 0; i + 1 < prompt.size(); ++i) {
    const std::span<const float> logits(output.logits.data() + i * vocabulary, vocabulary);
    scores.push_back(model::log_probabilities(logits, prompt[i + 1], kTop));
  }
  return scores;
}

void require_same(const Scores& got, const Scores& expected) {
  CHECK(std::equal(got.begin(), got.end(), expected.begin(), expected.end(), same_bits));
}

}  // namespace

TEST_CASE("scoring: a prompt's scores are the same, whatever the chunks and the company") {
  TinyPath path;
  std::map<std::uint64_t, Scores> expected;
  for (std::uint64_t id = 1; id <= 6; ++id) expected[id] = by_hand(path, asked(id, 0, kTop).prompt);
  for (const std::size_t chunk_rows : {7, 96, 256}) {
    INFO("chunks of " << chunk_rows);
    path.lose_everything();
    EngineState engine = new_engine(scoring_limits(chunk_rows));
    // Every second request only scores its prompt, and one is not scored at all.
    for (std::uint64_t id = 1; id <= 6; ++id) {
      const std::uint32_t tokens = id % 2 == 0 ? 0 : 5;
      REQUIRE(engine.admit(asked(id, tokens, kTop), 0).is_ok());
    }
    REQUIRE(engine.admit(asked(7, 5, 0), 0).is_ok());
    auto told = run(engine, path);
    for (const auto& [id, scores] : expected) {
      INFO("request " << id);
      require_same(told[id].prompt_logprobs, scores);
      REQUIRE(told[id].finished);
      CHECK(told[id].finished->finish_reason == "length");
      CHECK(told[id].ids.size() == (id % 2 == 0 ? 0 : 5));
      CHECK(told[id].finished->cached_tokens == 0);
      CHECK(told[id].finished->prefill_ms > 0);
    }
    CHECK(told[7].prompt_logprobs.empty());
    CHECK(told[7].ids.size() == 5);
  }
}

TEST_CASE("scoring: a prompt that was computed before is computed again, and says the same") {
  TinyPath path;
  const Scores expected = by_hand(path, asked(1, 0, kTop).prompt);
  path.lose_everything();
  EngineState engine = new_engine(scoring_limits(96));
  REQUIRE(engine.admit(asked(1, 3, 0), 0).is_ok());
  const auto before = run(engine, path);
  EngineRequest again = asked(1, 3, kTop);
  again.id = 2;
  REQUIRE(engine.admit(again, 0).is_ok());
  auto told = run(engine, path);
  require_same(told[2].prompt_logprobs, expected);
  CHECK(told[2].ids == before.at(1).ids);
  // A request that is not scored finds the blocks of the one that was.
  EngineRequest third = asked(1, 3, 0);
  third.id = 3;
  REQUIRE(engine.admit(third, 0).is_ok());
  told = run(engine, path);
  CHECK(told[3].finished->cached_tokens == 128);
}

TEST_CASE("scoring: requests that give way go on from the scores that they have") {
  TinyPath path;
  std::map<std::uint64_t, Scores> expected;
  for (std::uint64_t id = 1; id <= 6; ++id) expected[id] = by_hand(path, asked(id, 0, kTop).prompt);
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    INFO("seed " << seed);
    path.lose_everything();
    std::mt19937_64 preempts(seed);
    EngineState engine = new_engine(scoring_limits(32));
    for (std::uint64_t id = 1; id <= 6; ++id) {
      REQUIRE(engine.admit(asked(id, id % 2 == 0 ? 0 : 4, kTop), 0).is_ok());
    }
    auto told = run(engine, path, &preempts);
    for (const auto& [id, scores] : expected) {
      INFO("request " << id);
      require_same(told[id].prompt_logprobs, scores);
    }
  }
}

TEST_CASE("scoring: stages that lost everything score a prompt once more, and it is told once") {
  TinyPath path;
  const Scores expected = by_hand(path, asked(1, 0, kTop).prompt);
  path.lose_everything();
  EngineState engine = new_engine(scoring_limits(64));
  REQUIRE(engine.admit(asked(1, 6, kTop), 0).is_ok());
  std::map<std::uint64_t, ToldAnswer> told;
  // One chunk, then the stages are lost; three tokens, then they are lost again.
  const auto steps = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const auto step = engine.next_step(i);
      REQUIRE(step);
      note_events(engine.on_done(step->id, path.run(step->step), i), &told);
    }
  };
  const auto lose = [&] {
    note_events(engine.halt(""), &told);
    path.lose_everything();
    engine.resume(scoring_limits(64));
  };
  steps(1);
  lose();
  path.scored_rows = 0;
  steps(5);
  CHECK(path.scored_rows == expected.size() - 64);  // the scores of the first chunk were known
  CHECK(told[1].ids.size() == 3);
  require_same(told[1].prompt_logprobs, expected);
  lose();
  path.scored_rows = 0;
  const auto rest = run(engine, path);
  CHECK(path.scored_rows == 0);
  CHECK(rest.at(1).prompt_logprobs.empty());
  CHECK(told[1].ids.size() + rest.at(1).ids.size() == 6);
}

TEST_CASE("scoring: what cannot be scored is refused in words") {
  EngineState engine = new_engine(scoring_limits(96));
  const auto why = [&](EngineRequest request) {
    const Status refused = engine.admit(std::move(request), 0);
    CHECK(refused.code() == Code::kInvalidArgument);
    return refused.message();
  };
  CHECK(why(asked(1, 0, 0)).find("ask for at least one token") != std::string::npos);
  CHECK(why(asked(1, 1, 21)).find("at most 20") != std::string::npos);
  EngineRequest one = asked(1, 0, 1);
  one.prompt.resize(1);
  CHECK(why(one).find("nothing to compute") != std::string::npos);
  EngineRequest many = asked(1, 1, 20);
  many.prompt.assign(20'000, 5);
  CHECK(why(many).find("ask for fewer likely ones") != std::string::npos);
  // A prompt that is only scored may fill the context.
  EngineRequest whole = asked(1, 0, 1);
  whole.prompt = model::test::random_ids(400, 97, 1);
  CHECK(engine.admit(whole, 0).is_ok());
  whole.id = 2;
  whole.max_tokens = 1;
  CHECK(why(whole).find("the context only 400") != std::string::npos);
}
