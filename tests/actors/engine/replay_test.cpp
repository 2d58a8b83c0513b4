#include <catch2/catch.hpp>

#include "tiny_path.h"

// Accepted tokens go through the stages again, and the answer goes on as if nothing had happened:
// the engine's token log is all that is needed, even for penalties.

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::model::test;

namespace {

constexpr std::uint32_t kTokens = 64;

using Path = TinyPath;

EngineLimits limits() { return {.rows_max = 64, .chunk_rows = 8, .context_max = 200}; }

EngineRequest request(std::uint64_t id) {
  EngineRequest out;
  out.id = id;
  out.prompt = random_ids(20, 97, static_cast<unsigned>(id));
  out.max_tokens = kTokens;
  out.sampling.temperature = 0.9f;
  out.sampling.seed = 11;
  out.sampling.repeat_penalty = 1.4f;
  out.sampling.presence_penalty = 0.3f;
  out.sampling.frequency_penalty = 0.6f;
  out.sampling.logit_bias = {{3, 1.0f}};
  return out;
}

// Runs what was admitted to its end.
std::map<std::uint64_t, ToldAnswer> run_all(EngineState& engine, Path& path) {
  std::map<std::uint64_t, ToldAnswer> seen;
  for (int i = 1; i < 1000; ++i) {
    const auto step = engine.next_step();
    if (!step) break;
    note_events(engine.on_done(step->id, path.run(step->step), i), &seen);
  }
  REQUIRE(engine.idle());
  return seen;
}

ToldAnswer run_one(Path& path, EngineRequest one) {
  EngineState engine(limits(), std::make_shared<LetterTokenizer>());
  const std::uint64_t id = one.id;
  const Status admitted = engine.admit(std::move(one), 0);
  INFO(admitted.message());
  REQUIRE(admitted.is_ok());
  return run_all(engine, path)[id];
}

}  // namespace

TEST_CASE("replay: an answer goes on after any of its tokens, penalties included") {
  Path path;
  const ToldAnswer whole = run_one(path, request(1));
  REQUIRE(whole.finished);
  REQUIRE(whole.finished->token_ids.size() == kTokens);
  EngineRequest without = request(1);
  without.sampling.repeat_penalty = 1;
  without.sampling.presence_penalty = without.sampling.frequency_penalty = 0;
  REQUIRE(run_one(path, without).ids != whole.ids);  // the penalties matter

  for (const std::size_t k : {1u, 2u, 9u, 40u, 63u}) {
    INFO("after " << k << " tokens");
    path.lose_everything();
    EngineRequest rest = request(1);
    rest.answer.assign(whole.ids.begin(), whole.ids.begin() + static_cast<std::ptrdiff_t>(k));
    const ToldAnswer got = run_one(path, rest);
    REQUIRE(got.finished);
    CHECK(got.finished->token_ids == whole.ids);
    CHECK(got.finished->prompt_ids == request(1).prompt);
    CHECK(got.finished->text == whole.finished->text);
    CHECK(got.finished->finish_reason == "length");
    CHECK(got.ids ==
          std::vector(whole.ids.begin() + static_cast<std::ptrdiff_t>(k), whole.ids.end()));
    CHECK(got.indices.front() == k);
    CHECK(got.text == whole.text.substr(k));  // a letter for each token
  }
}

TEST_CASE("replay: requests under way go on with the same tokens on new stages") {
  Path path;
  std::map<std::uint64_t, ToldAnswer> whole;
  for (const std::uint64_t id : {1u, 2u, 3u}) whole[id] = run_one(path, request(id));
  // The stages are lost after this number of steps: within prompts, between them, near the end.
  for (const int lost_after : {1, 4, 9, 30, 65}) {
    INFO("lost after " << lost_after << " steps");
    path.lose_everything();
    EngineState engine(limits(), std::make_shared<LetterTokenizer>());
    std::map<std::uint64_t, ToldAnswer> seen;
    for (const std::uint64_t id : {1u, 2u, 3u}) REQUIRE(engine.admit(request(id), 0).is_ok());
    for (int i = 1; i <= lost_after; ++i) {
      const auto step = engine.next_step();
      REQUIRE(step);
      note_events(engine.on_done(step->id, path.run(step->step), i), &seen);
    }
    const auto under_way = engine.next_step();
    REQUIRE(under_way);
    const StepDone late = path.run(under_way->step);
    path.lose_everything();
    engine.replay();
    CHECK(engine.steps_in_flight() == 0);
    // This is a result of the stages that are gone.
    CHECK(engine.on_done(under_way->id, late, 100).empty());
    // The log goes in chunks, not in steps of one row.
    const auto first = engine.next_step();
    REQUIRE(first);
    CHECK(first->step.segments[0].position == 0);
    CHECK(first->step.segments[0].count == 8);
    note_events(engine.on_done(first->id, path.run(first->step), 101), &seen);
    for (const auto& [id, rest] : run_all(engine, path)) seen[id].append(rest);
    for (const auto& [id, one] : whole) {
      CHECK(seen[id].ids == one.ids);  // none lost, none twice
      CHECK(seen[id].text == one.text);
      REQUIRE(seen[id].finished);
      CHECK(seen[id].finished->token_ids == one.finished->token_ids);
    }
  }
}

TEST_CASE("replay: an answer that cannot go on is refused in words") {
  EngineState engine(limits(), std::make_shared<LetterTokenizer>());
  const auto refusal = [&](auto change) {
    EngineRequest one = request(1);
    one.answer = {1, 2, 3};
    change(one);
    const Status status = engine.admit(one, 0);
    CHECK(status.code() == Code::kInvalidArgument);
    return status.message();
  };
  CHECK(refusal([](auto& r) { r.max_tokens = 3; }) ==
        "the answer so far has 3 tokens, of max_tokens 3; raise max_tokens to go on");
  CHECK(refusal([](auto& r) {
          r.answer = {1, 99};
        }).find("token 99, the model's own end") != std::string::npos);
  CHECK(refusal([](auto& r) { r.stop = {"cd"}; }).find("token 3, which completes a stop") !=
        std::string::npos);
  CHECK(refusal([](auto& r) {
          r.answer = {1, 100};
        }) == "token id 100 is not in the vocabulary of 100 tokens");
  CHECK(refusal([](auto& r) { r.context = 23; }).find("prompt and answer so far have 23 tokens") !=
        std::string::npos);
  CHECK(engine.idle());
}

TEST_CASE("replay: a stop string may begin in the answer so far") {
  Path path;
  const ToldAnswer whole = run_one(path, request(1));
  // The letters of tokens 11 to 13 end the answer, and are in no earlier place.
  EngineRequest one = request(1);
  one.stop = {whole.text.substr(11, 3)};
  const std::size_t at = whole.text.find(one.stop[0]);
  const ToldAnswer stopped = run_one(path, one);
  REQUIRE(stopped.finished);
  CHECK(stopped.finished->text == whole.text.substr(0, at));
  one.answer.assign(whole.ids.begin(), whole.ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  const ToldAnswer got = run_one(path, one);
  REQUIRE(got.finished);
  CHECK(got.finished->finish_reason == "stop");
  CHECK(got.finished->text == stopped.finished->text);
  CHECK(got.finished->token_ids == stopped.finished->token_ids);
  CHECK(got.text.empty());
}

TEST_CASE("replay: penalties never look at a log with a hole") {
  Path path;
  Step step;
  step.segments.push_back({7, 0, 2, 2, false, {}, true, {0}});  // no penalties: nothing is kept
  step.token_ids = {1, 2};
  REQUIRE(path.worker->admit(step).is_ok());
  Step next;
  next.segments.push_back({7, 2, 1, 2, true, request(7).sampling});
  next.token_ids = {3};
  REQUIRE(path.worker->admit(next).is_ok());
  const auto log = path.worker->log(7, 3);
  CHECK(log.code() == Code::kFailedPrecondition);
  CHECK(log.message() == "the penalties of request 7 look at 3 tokens, this stage knows 1");
}
