#include <cstdlib>
#include <random>
#include <variant>

#include <troupe/model/transformer/kv_cache.h>

#include "tiny_path.h"

// Drafted rows change how many steps an answer takes. They may change no token and no bit of any
// log-probability, and rows that did not come true must leave nothing behind: not in the keys and
// values, not in the log that penalties use, and not in the index of blocks.

using namespace troupe;
using namespace troupe::actors;

namespace {

// The tiny model as a path of stages, without actors.
struct TinyStages {
  explicit TinyStages(std::size_t count) : path(), stages(count) { lose_everything(); }
  void lose_everything() {
    workers.clear();
    model::StageOptions options;
    options.kv_type = kernels::KvType::kF32;
    const std::size_t layers = path.config.layers;
    for (std::size_t i = 0; i < stages; ++i) {
      parts.resize(stages);
      parts[i] = model::test::load_stage(path.model->source, path.config,
                                         {i * layers / stages, (i + 1) * layers / stages},
                                         *path.device, options);
      workers.emplace_back(parts[i]);
    }
  }
  // Runs a step, and returns what the engine is told about it.
  std::variant<StepDone, StepFailed> run(const Step& step) {
    model::StepOutput output;
    for (std::size_t i = 0; i < stages; ++i) {
      auto sequences = workers[i].admit(step);
      if (!sequences) return failure(step, sequences.status());
      std::vector<model::Segment> segments;
      for (std::size_t s = 0; s < step.segments.size(); ++s) {
        const StepSegment& one = step.segments[s];
        segments.push_back({(*sequences)[s].get(), one.position, one.count,
                            i + 1 < stages || !one.sample ? model::LogitRows::kNone
                            : one.drafted > 0             ? model::LogitRows::kAll
                                                          : model::LogitRows::kLast});
        rows += i == 0 ? one.count : 0;
      }
      if (segments.empty()) continue;
      const std::vector<float> hidden = std::move(output.hidden);
      model::StepInput input;
      input.segments = segments;
      if (i == 0) input.token_ids = step.token_ids;
      if (i > 0) input.hidden = hidden;
      const Status ran = parts[i]->forward(input, &output);
      if (!ran) return failure(step, ran);
    }
    return sampled(step, output);
  }

  TinyPath path;
  std::size_t stages, rows = 0;
  std::vector<std::shared_ptr<model::Stage>> parts;
  std::deque<WorkerState> workers;

 private:
  static StepFailed failure(const Step& step, const Status& why) {
    StepFailed failed;
    for (const StepSegment& segment : step.segments) failed.requests.push_back(segment.request);
    failed.outcome = why;
    failed.no_memory = why.code() == Code::kResourceExhausted;
    return failed;
  }
  StepDone sampled(const Step& step, const model::StepOutput& output) {
    StepDone done;
    std::span<const float> logits(output.logits);
    std::span<const model::TokenId> ids(step.token_ids);
    for (const StepSegment& segment : step.segments) {
      const auto own = ids.first(segment.count);
      ids = ids.subspan(segment.count);
      if (!segment.sample) continue;
      const std::size_t values = (segment.drafted + 1) * path.config.vocabulary;
      std::vector<model::TokenId> log;
      if (segment.sampling.has_penalties()) {
        log = *workers.back().log(segment.request, segment.position + segment.count);
      }
      REQUIRE(sample_rows(segment, own, logits.first(values), log, &done.tokens).is_ok());
      logits = logits.subspan(values);
    }
    return done;
  }
};

// How the tokens of the answers are chosen, and whether the answers repeat themselves.
struct Manner {
  bool sampled = false, penalties = false, stops = false, few_words = false;
};

EngineRequest spoken(std::uint64_t id, const Manner& manner) {
  EngineRequest out;
  out.id = id;
  out.prompt = model::test::random_ids(70 + id % 3 * 30, 97, 7);
  // The prompt quotes itself, so that greedy answers may, too.
  const std::vector<model::TokenId> quoted(out.prompt.begin() + 20, out.prompt.begin() + 50);
  out.prompt.insert(out.prompt.end(), quoted.begin(), quoted.end());
  out.max_tokens = 90;
  out.sampling.logprobs = 2;
  if (manner.sampled) {
    out.sampling.temperature = 0.9f;
    out.sampling.seed = 11 + id;
  }
  if (manner.penalties) {
    out.sampling.repeat_penalty = 1.2f;
    out.sampling.presence_penalty = 0.2f;
    out.sampling.frequency_penalty = 0.1f;
  }
  if (manner.stops) out.stop = {"aba", "ccc", "bbbb"};
  if (manner.few_words) {
    for (const model::TokenId word : {1, 2, 3}) out.sampling.logit_bias.push_back({word, 60.0f});
  }
  return out;
}

EngineLimits speaking_limits(Speculation speculation) {
  EngineLimits limits{.rows_max = 256, .chunk_rows = 96, .context_max = 400};
  limits.speculation = speculation;
  return limits;
}

struct Course {
  std::map<std::uint64_t, ToldAnswer> told;
  DraftCounters drafts;
  std::size_t steps = 0;
};

// Runs requests to their ends. If asked, now and then a request is preempted, or the stages are
// lost.
Course run_course(TinyStages& stages, const EngineLimits& limits,
                  const std::vector<EngineRequest>& requests, std::mt19937_64* random = nullptr,
                  std::uint64_t preempt_one_in = 0, int lost_at = 0) {
  EngineState engine(limits, std::make_shared<LetterTokenizer>());
  for (const EngineRequest& request : requests) REQUIRE(engine.admit(request, 0).is_ok());
  Course course;
  std::deque<PlannedStep> under_way;
  for (int i = 1; i < 20'000; ++i) {
    while (auto step = engine.next_step(1000 * i)) under_way.push_back(std::move(*step));
    if (under_way.empty()) break;
    if (preempt_one_in != 0 && (*random)() % preempt_one_in == 0) {
      engine.preempt(1 + (*random)() % requests.size());
    }
    if (i == lost_at) {
      stages.lose_everything();
      under_way.clear();
      note_events(engine.halt(""), &course.told);
      engine.resume(limits);
      continue;
    }
    const PlannedStep step = std::move(under_way.front());
    under_way.pop_front();
    ++course.steps;
    const auto heard = stages.run(step.step);
    if (const auto* failed = std::get_if<StepFailed>(&heard)) {
      INFO(failed->outcome.text);
      REQUIRE(engine.was_overtaken(step.id));
      note_events(engine.on_failed(step.id, *failed), &course.told);
    } else {
      note_events(engine.on_done(step.id, std::get<StepDone>(heard), 1000 * i + 900), &course.told);
    }
    const Status sound = engine.check();
    INFO(sound.message());
    REQUIRE(sound.is_ok());
  }
  REQUIRE(engine.idle());
  CHECK(engine.blocks().in_use() == 0);
  course.drafts = engine.draft_counters();
  CHECK(course.drafts.accepted <= course.drafts.drafted);
  return course;
}

// TROUPE_SPECULATION_ROUNDS=N runs more.
int combinations() {
  const char* text = std::getenv("TROUPE_SPECULATION_ROUNDS");
  return text == nullptr ? 60 : std::atoi(text);
}

}  // namespace

TEST_CASE("speculation: tokens and log-probabilities have the bits that they have without") {
  TinyStages one(1), two(2);
  std::map<std::pair<int, std::uint64_t>, ToldAnswer> expected;  // by manner and request
  std::mt19937_64 random(3);
  DraftCounters drafts;
  for (int round = 0; round < combinations(); ++round) {
    const int kind = static_cast<int>(random() % 16);
    const Manner manner{(kind & 1) != 0, (kind & 2) != 0, (kind & 4) != 0, (kind & 8) != 0};
    const std::uint64_t count = 1 + random() % 4;
    EngineLimits limits =
        speaking_limits(random() % 4 == 0 ? Speculation::kWhenItPays : Speculation::kAlways);
    limits.chunk_rows = 1 + random() % 130;
    TinyStages& stages = random() % 2 == 0 ? one : two;
    limits.stages = stages.stages;
    limits.steps_in_flight_max = limits.stages + 1;
    if (random() % 4 == 0) limits.positions_max = 8 * kBlockPositions;
    const std::uint64_t preempt_one_in = random() % 3 == 0 ? 2 + random() % 20 : 0;
    const int lost_at = random() % 4 == 0 ? 5 + static_cast<int>(random() % 40) : 0;
    // A request that is computed again before it has a whole block begins from nothing.
    if (preempt_one_in != 0) limits.chunk_rows = std::max<std::size_t>(limits.chunk_rows, 40);
    INFO("round " << round << " manner " << kind << " requests " << count << " stages "
                  << limits.stages << " chunks " << limits.chunk_rows << " preempted 1 in "
                  << preempt_one_in << " lost at " << lost_at);
    std::vector<EngineRequest> requests;
    for (std::uint64_t id = 1; id <= count; ++id) {
      requests.push_back(spoken(id, manner));
      ToldAnswer& alone = expected[{kind, id}];
      if (alone.finished) continue;
      one.lose_everything();
      alone = run_course(one, speaking_limits(Speculation::kOff), {requests.back()}).told[id];
    }
    stages.lose_everything();
    auto course = run_course(stages, limits, requests, &random, preempt_one_in, lost_at);
    for (const EngineRequest& request : requests) {
      INFO("request " << request.id);
      require_same(course.told[request.id], expected[{kind, request.id}]);
    }
    drafts.drafted += course.drafts.drafted;
    drafts.accepted += course.drafts.accepted;
  }
  CHECK(drafts.accepted > 100);
  CHECK(drafts.drafted - drafts.accepted > 100);
}

TEST_CASE("speculation: an answer that repeats itself takes fewer steps, another one the same") {
  TinyStages stages(1);
  Manner manner;
  manner.few_words = true;
  const EngineRequest repeats = spoken(1, manner);
  for (const Speculation speculation : {Speculation::kAlways, Speculation::kWhenItPays}) {
    stages.lose_everything();
    const Course course = run_course(stages, speaking_limits(speculation), {repeats});
    CHECK(course.told.at(1).ids.size() == 90);
    CHECK(course.steps < 50);
    CHECK(course.drafts.accepted > 45);
    // The prompt takes two steps, of which the second brings a token, and the end another one.
    CHECK(course.steps + course.drafts.accepted == 92);
    stages.lose_everything();
    EngineRequest without = repeats;
    without.speculates = false;
    CHECK(run_course(stages, speaking_limits(speculation), {without}).steps == 92);
  }
  // This request draws from all words alike.
  EngineRequest random = spoken(1, {});
  random.sampling.temperature = 50.0f;
  stages.lose_everything();
  const Course course = run_course(stages, speaking_limits(Speculation::kWhenItPays), {random});
  CHECK(course.drafts.drafted <= 3);
}

TEST_CASE("speculation: a step of few answers has drafts, one of many has none") {
  TinyStages stages(1);
  Manner manner;
  manner.few_words = true;
  EngineState engine(speaking_limits(Speculation::kAlways), std::make_shared<LetterTokenizer>());
  for (std::uint64_t id = 1; id <= 5; ++id) {
    EngineRequest request = spoken(id, manner);
    if (id == 3) request.max_tokens = 40;
    REQUIRE(engine.admit(request, 0).is_ok());
  }
  std::size_t with_four = 0, with_five = 0;
  while (const auto step = engine.next_step()) {
    std::size_t drafted = 0;
    for (const StepSegment& segment : step->step.segments) drafted += segment.drafted;
    CHECK(drafted <= kDraftIdsMax);
    if (step->step.segments.size() == 5) CHECK(drafted == 0);
    with_five += step->step.segments.size() == 5;
    with_four += step->step.segments.size() == 4 && drafted > 0;
    engine.on_done(step->id, std::get<StepDone>(stages.run(step->step)), 1);
    REQUIRE(engine.check().is_ok());
  }
  CHECK(with_five > 20);
  CHECK(with_four > 0);
}

TEST_CASE("speculation: blocks of an answer are found by others as if it had had no drafts") {
  TinyStages stages(2);
  Manner manner;
  manner.sampled = manner.few_words = true;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    INFO("seed " << seed);
    EngineRequest first = spoken(1, manner);
    first.sampling.seed = seed;
    EngineLimits limits = speaking_limits(Speculation::kAlways);
    EngineState engine(limits, std::make_shared<LetterTokenizer>());
    std::map<std::uint64_t, ToldAnswer> told;
    const auto finish = [&](EngineState& running) {
      while (const auto step = running.next_step()) {
        note_events(running.on_done(step->id, std::get<StepDone>(stages.run(step->step)), 1),
                    &told);
        REQUIRE(running.check().is_ok());
      }
    };
    stages.lose_everything();
    REQUIRE(engine.admit(first, 0).is_ok());
    finish(engine);
    EngineRequest second = spoken(2, manner);
    second.prompt = first.prompt;
    second.prompt.insert(second.prompt.end(), told[1].ids.begin(), told[1].ids.end());
    second.prompt.push_back(9);
    // The block after the last common id differs: ids that were only drafted are not found.
    REQUIRE(engine.admit(second, 0).is_ok());
    finish(engine);
    const std::size_t whole = (first.prompt.size() + 89) / kBlockPositions * kBlockPositions;
    CHECK(told[2].finished->cached_tokens == whole);
    const ToldAnswer warm = told[2];
    told.clear();
    stages.lose_everything();
    EngineState cold(speaking_limits(Speculation::kOff), std::make_shared<LetterTokenizer>());
    REQUIRE(cold.admit(second, 0).is_ok());
    finish(cold);
    require_same(warm, told[2]);
  }
}

TEST_CASE("speculation: nothing of a rejected row stays in the keys and values") {
  const auto block_after = [](std::vector<model::TokenId> drafted, TinyPath& path) {
    path.lose_everything();
    const auto step = [&](std::uint32_t position, std::vector<model::TokenId> ids,
                          std::uint32_t drafts, std::uint32_t turn) {
      Step out;
      StepSegment segment{7, position, static_cast<std::uint32_t>(ids.size()), 2, true};
      segment.begins = turn == 0;
      if (turn == 0) segment.blocks = {0};
      segment.drafted = drafts;
      segment.turn = turn;
      out.segments.push_back(segment);
      out.token_ids = std::move(ids);
      return path.run(out);
    };
    step(0, {1, 2, 3}, 0, 0);
    std::vector<model::TokenId> ids = {4};
    ids.insert(ids.end(), drafted.begin(), drafted.end());
    step(3, ids, static_cast<std::uint32_t>(drafted.size()), 1);
    step(4, {5}, 0, 2);  // none came true
    const auto& sequence = dynamic_cast<const model::PagedKvSequence&>(*path.sequences[0]);
    REQUIRE(sequence.length() == 5);
    const std::byte* block = sequence.blocks()[0];
    return std::vector<std::byte>(block, block + sequence.pool()->block_bytes());
  };
  TinyPath path;
  const auto expected = block_after({}, path);
  CHECK(block_after({8}, path) == expected);
  CHECK(block_after({8, 9, 8, 9, 8, 9, 8}, path) == expected);
}

TEST_CASE("speculation: a step that fails with drafts is computed without") {
  TinyStages stages(1);
  Manner manner;
  manner.few_words = true;
  const EngineRequest request = spoken(1, manner);
  const Course expected = run_course(stages, speaking_limits(Speculation::kOff), {request});
  stages.lose_everything();
  EngineState engine(speaking_limits(Speculation::kAlways), std::make_shared<LetterTokenizer>());
  REQUIRE(engine.admit(request, 0).is_ok());
  std::map<std::uint64_t, ToldAnswer> told;
  std::size_t failures = 0;
  for (int i = 1; i < 500; ++i) {
    const auto step = engine.next_step(i);
    if (!step) break;
    const bool drafted = !step->step.segments.empty() && step->step.segments[0].drafted > 0;
    if (drafted) {
      StepFailed failed;
      failed.requests = {1};
      failed.outcome = Status(Code::kInvalidArgument, "the hidden states of a step hold a NaN");
      ++failures;
      note_events(engine.on_failed(step->id, failed), &told);
      continue;
    }
    note_events(engine.on_done(step->id, std::get<StepDone>(stages.run(step->step)), i), &told);
  }
  CHECK(failures == 1);
  require_same(told[1], expected.told.at(1));
  // Without drafts, a failure stays a failure.
  REQUIRE(engine.admit(spoken(2, {}), 0).is_ok());
  const auto step = engine.next_step(600);
  REQUIRE(step);
  StepFailed failed;
  failed.requests = {2};
  failed.outcome = Status(Code::kInvalidArgument, "no");
  note_events(engine.on_failed(step->id, failed), &told);
  CHECK(told[2].finished->finish_reason == "error");
}

TEST_CASE("speculation: drafts end before the model's end token, the last token and the context") {
  EngineLimits limits = speaking_limits(Speculation::kAlways);
  const auto drafted_of = [&](EngineRequest request) {
    EngineState engine(limits, std::make_shared<LetterTokenizer>());
    REQUIRE(engine.admit(request, 0).is_ok());
    const auto prompt = engine.next_step(1);
    REQUIRE(prompt);
    const auto position = static_cast<std::uint32_t>(request.prompt.size());
    engine.on_done(prompt->id, {{{request.id, position, 4, {}}}}, 2);
    const auto step = engine.next_step(3);
    REQUIRE(step);
    return step->step.segments[0].drafted;
  };
  EngineRequest request;
  request.id = 1;
  request.prompt = {3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 3};
  request.max_tokens = 50;
  CHECK(drafted_of(request) == 7);
  EngineRequest end = request;
  end.prompt[4] = 99;  // the letter tokenizer's end
  CHECK(drafted_of(end) == 2);
  end.ignore_end = true;
  CHECK(drafted_of(end) == 7);
  EngineRequest last = request;
  last.max_tokens = 4;
  CHECK(drafted_of(last) == 2);
  EngineRequest context = request;
  context.context = 15;
  CHECK(drafted_of(context) == 2);
  limits.speculation = Speculation::kOff;
  CHECK(drafted_of(request) == 0);
}
