#include <deque>
#include <map>

#include <catch2/catch.hpp>

#include <troupe/actors/engine_state.h>

#include "letter_tokenizer.h"

using namespace troupe;
using namespace troupe::actors;

namespace {

EngineLimits limits(std::size_t stages) {
  EngineLimits out;
  out.stages = stages;
  out.steps_in_flight_max = stages + 1;
  out.rows_max = 64;
  out.chunk_rows = 8;
  out.context_max = 100;
  out.requests_max = 4;
  return out;
}

EngineRequest request(std::uint64_t id, std::size_t prompt, std::uint32_t max_tokens) {
  EngineRequest out;
  out.id = id;
  out.prompt.assign(prompt, 1);
  out.max_tokens = max_tokens;
  return out;
}

// What the last stage would answer: the token at a position is a function of the position.
StepDone answer(const Step& step, model::TokenId (*token_at)(std::uint32_t)) {
  StepDone done;
  for (const StepSegment& s : step.segments) {
    if (s.sample) {
      done.tokens.push_back({s.request, s.position + s.count, token_at(s.position + s.count)});
    }
  }
  return done;
}

}  // namespace

TEST_CASE("engine: a prompt goes in chunks, several in flight, then one row a token") {
  EngineState state(limits(2), std::make_shared<LetterTokenizer>());
  REQUIRE(state.admit(request(1, 20, 3), 0).is_ok());
  std::vector<PlannedStep> steps;
  while (auto step = state.next_step()) steps.push_back(*step);
  REQUIRE(steps.size() == 3);  // 8 + 8 + 4 rows, all at once, within 3 credits
  CHECK(steps[0].step.segments[0].count == 8);
  CHECK_FALSE(steps[0].step.segments[0].sample);
  CHECK(steps[2].step.segments[0].position == 16);
  CHECK(steps[2].step.segments[0].count == 4);
  CHECK(steps[2].step.segments[0].sample);
  const auto letter = [](std::uint32_t position) -> model::TokenId { return position % 26; };
  for (const auto& step : steps) {
    const auto events = state.on_done(step.id, answer(step.step, letter), 1000);
    CHECK(events.size() == (step.id == steps[2].id ? 1u : 0u));
  }
  const auto next = state.next_step();
  REQUIRE(next);
  CHECK(next->step.token_ids == std::vector<model::TokenId>{20});
  CHECK(next->step.segments[0].position == 20);
  CHECK(next->step.segments[0].count == 1);
  CHECK_FALSE(state.next_step());  // the only request waits for its token
}

TEST_CASE("engine: a token counts once, at its position") {
  EngineState state(limits(1), std::make_shared<LetterTokenizer>());
  REQUIRE(state.admit(request(1, 2, 5), 0).is_ok());
  const auto step = state.next_step();
  REQUIRE(step);
  StepDone wrong;
  wrong.tokens.push_back({1, 7, 3});  // another position
  wrong.tokens.push_back({2, 2, 3});  // nobody's request
  CHECK(state.on_done(step->id, wrong, 1).empty());
  CHECK(state.on_done(step->id, wrong, 1).empty());      // the step is answered already
  CHECK(state.on_done(step->id + 7, wrong, 1).empty());  // never sent
  CHECK(state.active() == 1);
}

TEST_CASE("engine: the end token ends the answer, is in the ids and not in the text") {
  EngineState state(limits(1), std::make_shared<LetterTokenizer>());
  REQUIRE(state.admit(request(1, 2, 50), 0).is_ok());
  const auto script = [](std::uint32_t p) -> model::TokenId { return p == 5 ? 99 : p; };
  std::optional<Finished> finished;
  std::string text;
  for (int i = 0; i < 10 && !finished; ++i) {
    const auto step = state.next_step();
    REQUIRE(step);
    for (auto& event : state.on_done(step->id, answer(step->step, script), 1000 * (i + 1))) {
      if (event.token) text += event.token->text;
      if (event.finished) finished = event.finished;
    }
  }
  REQUIRE(finished);
  CHECK(finished->finish_reason == "stop");
  CHECK(finished->token_ids == std::vector<model::TokenId>{2, 3, 4, 99});
  CHECK(finished->text == "cde");
  CHECK(text == "cde");
  CHECK(finished->prompt_ids.size() == 2);
  // The stages are told to drop the sequence.
  const auto closing = state.next_step();
  REQUIRE(closing);
  CHECK(closing->step.segments.empty());
  CHECK(closing->step.closed == std::vector<std::uint64_t>{1});
  CHECK(state.on_done(closing->id, {}, 1).empty());
  CHECK(state.idle());
}

TEST_CASE("engine: length and context end an answer") {
  const auto letter = [](std::uint32_t position) -> model::TokenId { return position % 26; };
  EngineState state(limits(1), std::make_shared<LetterTokenizer>());
  EngineRequest small = request(1, 6, 50);
  small.context = 8;
  REQUIRE(state.admit(small, 0).is_ok());
  std::optional<Finished> finished;
  while (!finished) {
    const auto step = state.next_step();
    REQUIRE(step);
    for (auto& e : state.on_done(step->id, answer(step->step, letter), 1)) {
      if (e.finished) finished = e.finished;
    }
  }
  CHECK(finished->finish_reason == "length");
  CHECK(finished->token_ids.size() == 2);
  EngineRequest large = request(2, 100, 1);
  const Status refused = state.admit(large, 0);
  CHECK(refused.code() == Code::kInvalidArgument);
  CHECK(refused.message().find("100 tokens") != std::string::npos);
}

TEST_CASE("engine: a stop string is cut away wherever the tokens fall") {
  AnswerText text({"cd", "xyz"});
  CHECK(text.push("ab") == "ab");
  CHECK(text.push("c") == "");    // may become "cd"
  CHECK(text.push("e") == "ce");  // it did not
  CHECK(text.push("xy") == "");
  CHECK(text.push("c") == "xy");
  CHECK(text.push("dq") == "");
  CHECK(text.stopped());
  CHECK(text.finish() == "");
  CHECK(text.shown() == "abcexy");
}

TEST_CASE("engine: never half a character") {
  AnswerText text({});
  CHECK(text.push("\xC3") == "");
  CHECK(text.push("\xA9") == "\xC3\xA9");
  CHECK(text.push("\xF0\x9F") == "");
  CHECK(text.finish() == "\xEF\xBF\xBD");
}

TEST_CASE("engine: many requests share steps, nobody starves, refusals are early") {
  const auto letter = [](std::uint32_t position) -> model::TokenId { return position % 26; };
  EngineState state(limits(2), std::make_shared<LetterTokenizer>());
  for (std::uint64_t id = 1; id <= 4; ++id) REQUIRE(state.admit(request(id, 3, 10), 0).is_ok());
  CHECK(state.admit(request(5, 3, 10), 0).code() == Code::kResourceExhausted);
  std::map<std::uint64_t, int> tokens;
  std::deque<PlannedStep> path;
  for (int i = 0; i < 500 && !state.idle(); ++i) {
    while (auto step = state.next_step()) path.push_back(*step);
    CHECK(path.size() <= 3);
    REQUIRE_FALSE(path.empty());
    const PlannedStep step = path.front();
    path.pop_front();
    for (const auto& e : state.on_done(step.id, answer(step.step, letter), i)) {
      tokens[e.request] += e.token.has_value();
    }
  }
  CHECK(state.idle());
  for (std::uint64_t id = 1; id <= 4; ++id) CHECK(tokens[id] == 10);
}

TEST_CASE("engine: failure, cancelling and deadlines end requests and free their sequences") {
  EngineState state(limits(1), std::make_shared<LetterTokenizer>());
  REQUIRE(state.admit(request(1, 3, 10), 0).is_ok());
  EngineRequest late = request(2, 3, 10);
  late.deadline_us = 500;
  REQUIRE(state.admit(late, 0).is_ok());
  const auto step = state.next_step();
  REQUIRE(step);
  auto events = state.expire(499);
  CHECK(events.empty());
  events = state.expire(500);
  REQUIRE(events.size() == 1);
  CHECK(events[0].finished->finish_reason == "error");
  CHECK(events[0].finished->code == static_cast<std::uint8_t>(Code::kDeadlineExceeded));
  StepFailed failed;
  failed.requests = {1, 2};
  failed.code = static_cast<std::uint8_t>(Code::kUnavailable);
  failed.text = "gone";
  events = state.on_failed(step->id, failed, 600);
  REQUIRE(events.size() == 1);
  CHECK(events[0].finished->error == "gone");
  const auto closing = state.next_step();
  REQUIRE(closing);
  CHECK(closing->step.closed.size() == 2);

  REQUIRE(state.admit(request(3, 3, 10), 0).is_ok());
  events = state.cancel(3, 700);
  REQUIRE(events.size() == 1);
  CHECK(events[0].finished->finish_reason == "stop");
  REQUIRE(state.admit(request(4, 3, 10), 0).is_ok());
  events = state.fail_all(Status(Code::kUnavailable, "a node is gone"), 800);
  REQUIRE(events.size() == 1);
  CHECK(state.idle());
}
