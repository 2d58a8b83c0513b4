#include <deque>
#include <map>
#include <set>

#include <catch2/catch.hpp>

#include <troupe/actors/engine/engine_state.h>
#include <troupe/tests/model/tokenizer/letter_tokenizer.h>

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

model::TokenId letter_at(std::uint32_t position) {
  return static_cast<model::TokenId>(position % 26);
}

// Returns what the last stage would answer: the token at a position is a function of the position.
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
  for (const auto& step : steps) {
    const auto events = state.on_done(step.id, answer(step.step, letter_at), 1000);
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

TEST_CASE("engine: requests wait for memory in their order, and the youngest gives way") {
  EngineLimits bounded = limits(1);
  bounded.positions_max = 128;  // two blocks
  EngineState state(bounded, std::make_shared<LetterTokenizer>());
  REQUIRE(state.admit(request(1, 4, 90), 0).is_ok());  // needs both blocks in the end
  REQUIRE(state.admit(request(2, 70, 5), 0).is_ok());  // needs both at once, so it waits
  REQUIRE(state.admit(request(3, 4, 20), 0).is_ok());  // would fit, but overtakes nobody
  std::vector<std::uint64_t> ended;
  for (int i = 0; i < 300 && ended.size() < 3; ++i) {
    while (auto step = state.next_step()) {
      CHECK(state.check().is_ok());
      for (auto& event : state.on_done(step->id, answer(step->step, letter_at), 1)) {
        if (event.finished) ended.push_back(event.request);
      }
    }
  }
  CHECK(ended == std::vector<std::uint64_t>{1, 2, 3});
  CHECK(state.block_counters().preemptions == 0);

  // Both requests fit at first, until the older one needs a second block.
  bounded.requests_max = 8;
  EngineState grows(bounded, std::make_shared<LetterTokenizer>());
  REQUIRE(grows.admit(request(4, 60, 40), 0).is_ok());
  const auto first = grows.next_step();
  REQUIRE(first);
  REQUIRE(grows.preempt(4));
  CHECK_FALSE(grows.preempt(4));
  CHECK_FALSE(grows.preempt(5));
  REQUIRE(grows.admit(request(5, 4, 30), 0).is_ok());
  std::map<std::uint64_t, std::string> said;
  const auto work = [&](const PlannedStep& step) {
    for (auto& event : grows.on_done(step.id, answer(step.step, letter_at), 1)) {
      if (event.token) said[event.request] += event.token->text;
    }
  };
  work(*first);  // the results of earlier steps count once, or not at all
  for (int i = 0; i < 300 && grows.active() > 0; ++i) {
    while (auto step = grows.next_step()) work(*step);
  }
  std::string expected;
  for (std::uint32_t p = 60; p < 100; ++p) expected += static_cast<char>('a' + letter_at(p));
  CHECK(said[4] == expected);
  CHECK(said[5].size() == 30);
  bounded.positions_max = 64;
  EngineState full(bounded, std::make_shared<LetterTokenizer>());
  const Status refused = full.admit(request(1, 4, 90), 0);
  CHECK(refused.code() == Code::kResourceExhausted);
  CHECK_THAT(refused.message(), Catch::Contains("128 positions") && Catch::Contains("64;"));
  CHECK(full.admit(request(2, 4, 20), 0).is_ok());
}

TEST_CASE("engine: an older request takes the block of the youngest, which is computed again") {
  EngineLimits bounded = limits(1);
  bounded.chunk_rows = 64;
  bounded.positions_max = 4 * 64;
  EngineState state(bounded, std::make_shared<LetterTokenizer>());
  EngineRequest one = request(1, 60, 40), two = request(2, 60, 40), three = request(3, 60, 10);
  // Different prompts, so that nothing is shared.
  two.prompt[0] = 2;
  three.prompt[0] = 3;
  for (EngineRequest* each : {&one, &two, &three}) REQUIRE(state.admit(*each, 0).is_ok());
  std::map<std::uint64_t, std::size_t> begins;
  std::map<std::uint64_t, std::uint32_t> tokens;
  for (int i = 0; i < 400 && state.active() > 0; ++i) {
    while (auto step = state.next_step()) {
      CHECK(state.check().is_ok());
      CHECK(state.blocks().in_use() <= 4);
      for (const StepSegment& segment : step->step.segments)
        begins[segment.request] += segment.begins;
      for (auto& event : state.on_done(step->id, answer(step->step, letter_at), 1)) {
        if (!event.token) continue;
        CHECK(event.token->index == tokens[event.request]++);
      }
    }
  }
  CHECK(state.active() == 0);
  CHECK(tokens[1] == 40);
  CHECK(tokens[2] == 40);
  CHECK(tokens[3] == 10);
  CHECK(begins[1] == 1);
  CHECK(begins[2] == 1);
  CHECK(begins[3] == 1 + state.block_counters().preemptions);
}

TEST_CASE("engine: a short prompt does not wait behind a long one, which goes on") {
  EngineLimits wide = limits(1);
  wide.chunk_rows = 32;
  wide.context_max = 4000;
  EngineState state(wide, std::make_shared<LetterTokenizer>());
  REQUIRE(state.admit(request(1, 2000, 5), 0).is_ok());
  std::map<std::uint64_t, std::size_t> rows;
  std::map<std::uint64_t, int> first;  // the step that brought the first token
  for (int i = 1; i <= 200; ++i) {
    if (i == 5) {
      EngineRequest brief = request(2, 40, 5);
      brief.prompt[0] = 2;
      REQUIRE(state.admit(std::move(brief), 0).is_ok());
    }
    const auto step = state.next_step();
    if (!step) break;
    for (const StepSegment& s : step->step.segments) rows[s.request] += s.count;
    if (i == 6) CHECK(rows[1] >= 4 * 32 + 2 * 16);
    for (const auto& event : state.on_done(step->id, answer(step->step, letter_at), i)) {
      if (event.token) first.emplace(event.request, i);
    }
  }
  CHECK(first[2] <= 8);
  CHECK(first[1] <= 2000 / 32 + 4);
  CHECK(state.active() == 0);
}

TEST_CASE("engine: what a failed step said besides its rows is said again") {
  EngineState state(limits(1), std::make_shared<LetterTokenizer>());
  REQUIRE(state.admit(request(1, 3, 30), 0).is_ok());
  REQUIRE(state.admit(request(2, 4, 30), 0).is_ok());
  const auto begun = state.next_step();
  REQUIRE(begun);
  REQUIRE(state.on_done(begun->id, answer(begun->step, letter_at), 1).size() == 2);
  state.cancel(1);
  const auto lost = state.next_step();
  REQUIRE(lost);
  CHECK(lost->step.closed == std::vector<std::uint64_t>{1});
  REQUIRE(lost->step.freed.size() == 1);
  StepFailed failed;
  failed.requests = {2};
  failed.outcome = Status(Code::kInternal, "a stage between failed");
  REQUIRE(state.on_failed(lost->id, failed).size() == 1);
  const auto next = state.next_step();
  REQUIRE(next);
  CHECK(next->step.closed == std::vector<std::uint64_t>{2, 1});
  CHECK(next->step.freed.size() == 2);
}

TEST_CASE("engine: a measurement goes on after the model's end") {
  EngineState state(limits(1), std::make_shared<LetterTokenizer>());
  const auto script = [](std::uint32_t p) -> model::TokenId { return p == 5 ? 99 : 7; };
  EngineRequest asked = request(1, 2, 6);
  asked.ignore_end = true;
  REQUIRE(state.admit(std::move(asked), 0).is_ok());
  std::optional<Finished> finished;
  for (int i = 0; i < 10 && !finished; ++i) {
    while (auto step = state.next_step()) {
      for (auto& event : state.on_done(step->id, answer(step->step, script), 1)) {
        if (event.finished) finished = event.finished;
      }
    }
  }
  REQUIRE(finished);
  CHECK(finished->finish_reason == "length");
  CHECK(finished->token_ids == std::vector<model::TokenId>{7, 7, 7, 99, 7, 7});
}

TEST_CASE("engine: length and context end an answer") {
  EngineState state(limits(1), std::make_shared<LetterTokenizer>());
  EngineRequest small = request(1, 6, 50);
  small.context = 8;
  REQUIRE(state.admit(small, 0).is_ok());
  std::optional<Finished> finished;
  while (!finished) {
    const auto step = state.next_step();
    REQUIRE(step);
    for (auto& e : state.on_done(step->id, answer(step->step, letter_at), 1)) {
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
    for (const auto& e : state.on_done(step.id, answer(step.step, letter_at), i)) {
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
  CHECK(events[0].finished->outcome.status().code() == Code::kDeadlineExceeded);
  StepFailed failed;
  failed.requests = {1, 2};
  failed.outcome = Status(Code::kUnavailable, "gone");
  events = state.on_failed(step->id, failed);
  REQUIRE(events.size() == 1);
  CHECK(events[0].finished->outcome.text == "gone");
  const auto closing = state.next_step();
  REQUIRE(closing);
  CHECK(closing->step.closed.size() == 2);

  REQUIRE(state.admit(request(3, 3, 10), 0).is_ok());
  events = state.cancel(3);
  REQUIRE(events.size() == 1);
  CHECK(events[0].finished->finish_reason == "cancelled");
  REQUIRE(state.admit(request(4, 3, 10), 0).is_ok());
  events = state.fail_all(Status(Code::kUnavailable, "a node is gone"));
  REQUIRE(events.size() == 1);
  CHECK(state.idle());
}

namespace {

// Answers every step that can be sent, in `times` rounds; returns what was said about each request.
std::map<std::uint64_t, std::string> work(EngineState& state, int times) {
  std::map<std::uint64_t, std::string> said;
  for (int i = 0; i < times; ++i) {
    std::vector<PlannedStep> steps;
    while (auto step = state.next_step()) steps.push_back(*step);
    for (const PlannedStep& step : steps) {
      for (const auto& event : state.on_done(step.id, answer(step.step, letter_at), 1000 + i)) {
        if (event.token) said[event.request] += event.token->text;
      }
    }
  }
  return said;
}

std::set<std::uint64_t> requests_of(const Step& step) {
  std::set<std::uint64_t> ids;
  for (const StepSegment& segment : step.segments) ids.insert(segment.request);
  return ids;
}

}  // namespace

TEST_CASE("engine: a replay goes from position 0 in chunks, and the answer goes on") {
  EngineState state(limits(2), std::make_shared<LetterTokenizer>());
  REQUIRE(state.admit(request(1, 20, 30), 0).is_ok());
  REQUIRE(state.admit(request(2, 3, 12), 0).is_ok());
  auto said = work(state, 6);
  const auto lost = state.next_step();  // under way when the stage dies
  REQUIRE(lost);
  CHECK(state.halt("b").empty());
  CHECK(state.replays() == 2);
  // All tokens have been through except each request's newest one, and those in the lost step.
  CHECK(state.replayed_tokens() ==
        20 + 3 + said[1].size() + said[2].size() - 2 + requests_of(lost->step).size());
  CHECK_FALSE(state.next_step());
  REQUIRE(state.admit(request(3, 1, 2), 0).is_ok());  // waits for the stages
  CHECK_FALSE(state.next_step());
  CHECK(state.on_done(lost->id, answer(lost->step, letter_at), 1).empty());
  state.resume(limits(3));
  const auto first = state.next_step();
  REQUIRE(first);
  CHECK(first->step.segments.front().position == 0);
  CHECK(first->step.segments.front().count == 7);
  CHECK(first->step.segments.back().request == 3);  // a short prompt has the eighth row
  CHECK(first->step.token_ids[0] == 1);
  for (auto& event : state.on_done(first->id, answer(first->step, letter_at), 2)) {
    REQUIRE(event.token);
    said[event.request] += event.token->text;
  }
  for (auto& [id, text] : work(state, 40)) said[id] += text;
  const auto expected = [](std::uint32_t from, std::uint32_t count) {
    std::string text;
    for (std::uint32_t p = from; p < from + count; ++p) {
      text += static_cast<char>('a' + letter_at(p));
    }
    return text;
  };
  CHECK(said[1] == expected(20, 30));
  CHECK(said[2] == expected(3, 12));
  CHECK(said[3] == expected(1, 2));
  CHECK(state.active() == 0);
}

TEST_CASE("engine: a request alone in the steps of two crashes is tried no more") {
  EngineState state(limits(2), std::make_shared<LetterTokenizer>());
  REQUIRE(state.admit(request(1, 4, 30), 0).is_ok());
  work(state, 3);
  REQUIRE(state.next_step());
  CHECK(state.halt("b").empty());
  CHECK(state.halt("c").empty());  // the request was in no step then
  state.resume(limits(2));
  REQUIRE(state.next_step());
  CHECK(state.halt("").empty());  // the worker left by itself, which is no crash
  state.resume(limits(2));
  REQUIRE(state.next_step());
  const auto events = state.halt("d");
  REQUIRE(events.size() == 1);
  REQUIRE(events[0].finished);
  CHECK(events[0].finished->finish_reason == "error");
  CHECK(events[0].finished->outcome.text.find("b, then d") != std::string::npos);
  CHECK(events[0].finished->token_ids.size() == 3);
  CHECK(state.active() == 0);
}

TEST_CASE("engine: of several suspects each goes alone, until a token clears it or a crash not") {
  EngineState state(limits(2), std::make_shared<LetterTokenizer>());
  for (std::uint64_t id = 1; id <= 3; ++id) REQUIRE(state.admit(request(id, 4, 30), 0).is_ok());
  work(state, 3);
  REQUIRE(state.next_step());
  REQUIRE(state.next_step());
  CHECK(state.halt("b").empty());
  state.resume(limits(2));
  while (state.next_step()) {
  }
  CHECK(state.halt("c").empty());                      // three suspects: nobody is convicted
  REQUIRE(state.admit(request(4, 1, 30), 0).is_ok());  // an innocent request goes along
  state.resume(limits(2));
  const auto step = state.next_step();
  REQUIRE(step);
  CHECK(requests_of(step->step) == std::set<std::uint64_t>{1, 4});
  CHECK_FALSE(state.next_step());
  // A token clears the first suspect; the second suspect crashes a third worker.
  REQUIRE(state.on_done(step->id, answer(step->step, letter_at), 2).size() == 2);
  bool second = false;
  while (const auto next = state.next_step()) {
    second |= requests_of(next->step).contains(2);
    CHECK_FALSE(requests_of(next->step).contains(3));
  }
  REQUIRE(second);
  const auto events = state.halt("d");
  REQUIRE(events.size() == 1);
  CHECK(events[0].request == 2);
  state.resume(limits(2));
  work(state, 60);
  CHECK(state.active() == 0);
}
