#include <deque>

#include <catch2/catch.hpp>

#include <troupe/actors/engine/engine_state.h>
#include <troupe/actors/node/worker.h>
#include <troupe/model/sampling/sampler.h>
#include <troupe/tests/model/tokenizer/letter_tokenizer.h>
#include <troupe/tests/model/transformer/memory_model.h>

// What was accepted before goes through the stages again, and the answer goes on as if nothing had
// happened: the engine's token log is all there is to know, for penalties too.

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::model::test;

namespace {

constexpr std::uint32_t kTokens = 64;

// A tiny model as the only stage, and what the worker's actor does with a step.
struct Path {
  Path() : device(make_device(1)) {
    config = odd_config();
    config.vocabulary = 97;  // the letter tokenizer's end token is out of reach
    model.emplace(random_model(config, quant::Type::kQ4_1, quant::Type::kF32));
    stage = load_stage(model->source, config, {0, config.layers}, *device);
    worker.emplace(stage);
  }
  StepDone run(const Step& step) {
    const auto sequences = worker->admit(step);
    INFO(sequences.message());
    REQUIRE(sequences.is_ok());
    std::vector<model::Segment> segments;
    for (std::size_t i = 0; i < step.segments.size(); ++i) {
      const StepSegment& s = step.segments[i];
      segments.push_back({(*sequences)[i].get(), s.position, s.count,
                          s.sample ? model::LogitRows::kLast : model::LogitRows::kNone});
    }
    model::StepInput input;
    input.segments = segments;
    input.token_ids = step.token_ids;
    model::StepOutput output;
    if (!segments.empty()) REQUIRE(stage->forward(input, &output).is_ok());
    StepDone done;
    for (std::size_t i = 0, row = 0; i < step.segments.size(); ++i) {
      const StepSegment& s = step.segments[i];
      if (!s.sample) continue;
      const std::uint32_t position = s.position + s.count;
      const std::span<const float> logits(output.logits.data() + row++ * config.vocabulary,
                                          config.vocabulary);
      const auto log = worker->log(s.request, position);
      REQUIRE(log.is_ok() == s.sampling.has_penalties());
      const auto token = model::sample(logits, s.sampling, position,
                                       log ? *log : std::vector<model::TokenId>(), s.prompt);
      REQUIRE(token.is_ok());
      done.tokens.push_back({s.request, position, *token, {}});
    }
    worker->close(step.closed);
    return done;
  }
  // As when the stage is loaded anew on another node.
  void lose_everything() { worker.emplace(stage); }

  std::unique_ptr<Device> device;
  model::ModelConfig config;
  std::optional<Model> model;
  std::shared_ptr<model::Stage> stage;
  std::optional<WorkerState> worker;
};

EngineLimits limits() {
  EngineLimits out;
  out.rows_max = 64;
  out.chunk_rows = 8;
  out.context_max = 200;
  return out;
}

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

struct Seen {
  std::vector<model::TokenId> ids;  // of the events
  std::vector<std::uint32_t> indices;
  std::string text;
  std::optional<Finished> finished;
};

void note(const std::vector<EngineEvent>& events, std::map<std::uint64_t, Seen>* seen) {
  for (const EngineEvent& event : events) {
    Seen& one = (*seen)[event.request];
    if (event.token) {
      one.ids.push_back(event.token->id);
      one.indices.push_back(event.token->index);
      one.text += event.token->text;
    }
    if (event.finished) one.finished = event.finished;
  }
}

// Runs what was admitted to its end.
std::map<std::uint64_t, Seen> run_all(EngineState& engine, Path& path) {
  std::map<std::uint64_t, Seen> seen;
  for (int i = 1; i < 1000; ++i) {
    const auto step = engine.next_step();
    if (!step) break;
    note(engine.on_done(step->id, path.run(step->step), i), &seen);
  }
  REQUIRE(engine.idle());
  return seen;
}

Seen run_one(Path& path, EngineRequest one) {
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
  const Seen whole = run_one(path, request(1));
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
    const Seen got = run_one(path, rest);
    REQUIRE(got.finished);
    CHECK(got.finished->token_ids == whole.ids);
    CHECK(got.finished->prompt_ids == request(1).prompt);
    CHECK(got.finished->text == whole.finished->text);
    CHECK(got.finished->finish_reason == "length");
    CHECK(got.ids ==
          std::vector(whole.ids.begin() + static_cast<std::ptrdiff_t>(k), whole.ids.end()));
    CHECK(got.indices.front() == k);
    CHECK(got.text == whole.text.substr(k));  // a letter a token
  }
}

TEST_CASE("replay: requests under way go on with the same tokens on new stages") {
  Path path;
  std::map<std::uint64_t, Seen> whole;
  for (const std::uint64_t id : {1u, 2u, 3u}) whole[id] = run_one(path, request(id));
  // The stages are lost when so many steps are done: within prompts, between, near the end.
  for (const int lost_after : {1, 4, 9, 30, 65}) {
    INFO("lost after " << lost_after << " steps");
    path.lose_everything();
    EngineState engine(limits(), std::make_shared<LetterTokenizer>());
    std::map<std::uint64_t, Seen> seen;
    for (const std::uint64_t id : {1u, 2u, 3u}) REQUIRE(engine.admit(request(id), 0).is_ok());
    for (int i = 1; i <= lost_after; ++i) {
      const auto step = engine.next_step();
      REQUIRE(step);
      note(engine.on_done(step->id, path.run(step->step), i), &seen);
    }
    const auto under_way = engine.next_step();
    REQUIRE(under_way);
    const StepDone late = path.run(under_way->step);
    path.lose_everything();
    engine.replay();
    CHECK(engine.steps_in_flight() == 0);
    CHECK(engine.on_done(under_way->id, late, 100).empty());  // of the stages that are gone
    // The log goes in chunks, not a row a step.
    const auto first = engine.next_step();
    REQUIRE(first);
    CHECK(first->step.segments[0].position == 0);
    CHECK(first->step.segments[0].count == 8);
    note(engine.on_done(first->id, path.run(first->step), 101), &seen);
    for (auto& [id, rest] : run_all(engine, path)) {
      Seen& one = seen[id];
      one.ids.insert(one.ids.end(), rest.ids.begin(), rest.ids.end());
      one.text += rest.text;
      one.finished = rest.finished;
    }
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
  const Seen whole = run_one(path, request(1));
  // The letters of tokens 11 to 13 end the answer, and are in no earlier place.
  EngineRequest one = request(1);
  one.stop = {whole.text.substr(11, 3)};
  const std::size_t at = whole.text.find(one.stop[0]);
  const Seen stopped = run_one(path, one);
  REQUIRE(stopped.finished);
  CHECK(stopped.finished->text == whole.text.substr(0, at));
  one.answer.assign(whole.ids.begin(), whole.ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  const Seen got = run_one(path, one);
  REQUIRE(got.finished);
  CHECK(got.finished->finish_reason == "stop");
  CHECK(got.finished->text == stopped.finished->text);
  CHECK(got.finished->token_ids == stopped.finished->token_ids);
  CHECK(got.text.empty());
}

TEST_CASE("replay: penalties never look at a log with a hole") {
  Path path;
  Step step;
  step.segments.push_back({7, 0, 2, 2, false, {}});  // no penalties: the tokens are not kept
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
