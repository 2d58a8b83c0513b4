#include <condition_variable>
#include <mutex>
#include <thread>

#include <caf/scheduler/test_coordinator.hpp>
#include <catch2/catch.hpp>

#include <troupe/actors/engine/engine.h>
#include <troupe/runtime/numerics/arithmetic_version.h>
#include <troupe/tests/model/tokenizer/letter_tokenizer.h>

using namespace troupe;
using namespace troupe::actors;

namespace {

// A stage that answers each step with tokens that are a function of the position; `silent` keeps
// the steps to itself.
struct FakeStage {
  std::vector<Step> steps;
  bool silent = false;
};

frame_sink::behavior_type fake_stage(frame_sink::pointer, std::shared_ptr<Link> link,
                                     std::uint64_t epoch, std::shared_ptr<FakeStage> stage) {
  return {[=](const FramePtr& frame) {
    const auto step = decode_body<Step>(*link, *frame);
    REQUIRE(step);
    stage->steps.push_back(*step);
    if (stage->silent) return;
    StepDone done;
    for (const StepSegment& s : step->segments) {
      if (!s.sample) continue;
      const std::uint32_t position = s.position + s.count;
      done.tokens.push_back({s.request, position, static_cast<model::TokenId>(position % 26)});
    }
    REQUIRE(
        link->send(link->self(), MessageType::kStepDone, done, epoch, frame->header.step).is_ok());
  }};
}

struct Seen {
  std::string text;
  std::vector<Finished> finished;
};

token_sink::behavior_type sink(token_sink::pointer, std::shared_ptr<Seen> seen) {
  return {
      [=](const TokenPtr& token) { seen->text += token->text; },
      [=](const FinishedPtr& finished) { seen->finished.push_back(*finished); },
  };
}

// Holds long texts back until the test lets them go; like a real one, it stops reading texts that
// are too long.
class HeldTokenizer : public LetterTokenizer {
 public:
  Result<std::vector<model::TokenId>> encode(std::string_view text,
                                             const model::EncodeOptions& options) const override {
    if (text.size() > 1000) {
      std::unique_lock lock(mutex_);
      released_.wait(lock, [&] { return free_; });
    }
    if (options.tokens_max != 0 && text.size() > options.tokens_max) {
      return Status(Code::kResourceExhausted, "too many");
    }
    return LetterTokenizer::encode(text, options);
  }
  void release() {
    std::lock_guard lock(mutex_);
    free_ = true;
    released_.notify_all();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable released_;
  bool free_ = false;
};

struct Fixture {
  explicit Fixture(
      std::shared_ptr<const model::Tokenizer> tokenizer = std::make_shared<LetterTokenizer>(),
      std::size_t context = 100)
      : config(make_config()),
        system(config),
        scheduler(dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler())) {
    stage = std::make_shared<FakeStage>();
    link = Link::loopback();
    worker = system.spawn(fake_stage, link, kEpoch, stage);
    EngineSetup setup;
    setup.deployment = kEpoch;
    setup.placement.epoch = kEpoch;
    setup.placement.first_stage = link->self();
    setup.placement.limits.context_max = context;
    counters = setup.replay_counters;
    setup.tokenizer = std::move(tokenizer);
    setup.link = link;
    engine = spawn_engine(system, std::move(setup));
    link->attach_worker(kEpoch, link->self(), worker);
    link->attach_engine(kEpoch, {link->self(), {link->self()}}, engine);
  }
  ~Fixture() {
    link->close();
    caf::anon_send_exit(engine, caf::exit_reason::kill);
    caf::anon_send_exit(worker, caf::exit_reason::kill);
    engine = nullptr;
    worker = nullptr;
    scheduler.run();
  }
  static caf::actor_system_config& make_config() {
    static caf::actor_system_config made;
    made.set("scheduler.policy", caf::atom("testing"));
    return made;
  }
  void submit(std::uint64_t request, const token_sink& to, std::uint32_t max_tokens) {
    auto message = std::make_shared<Submit>();
    message->request = request;
    message->prompt = "abc";
    message->raw = true;
    message->max_tokens = max_tokens;
    caf::anon_send(engine, submit_atom::value, SubmitPtr(message), to);
  }

  void submit_long(std::uint64_t request, const token_sink& to, std::size_t letters) {
    auto message = std::make_shared<Submit>();
    message->request = request;
    message->prompt = std::string(letters, 'a');
    message->raw = true;
    message->max_tokens = 1;
    caf::anon_send(engine, submit_atom::value, SubmitPtr(message), to);
  }
  // Prompts are read by another thread.
  template <class Condition>
  bool run_until(Condition done) {
    for (int i = 0; i < 10'000; ++i) {
      scheduler.run();
      if (done()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  static constexpr std::uint64_t kEpoch = 5;
  caf::actor_system_config& config;
  caf::actor_system system;
  caf::scheduler::test_coordinator& scheduler;
  std::shared_ptr<FakeStage> stage;
  std::shared_ptr<Link> link;
  std::shared_ptr<ReplayCounters> counters;
  frame_sink worker;
  engine_actor engine;
};

}  // namespace

TEST_CASE("engine actor: tokens reach the sink, then one end") {
  Fixture f;
  const auto seen = std::make_shared<Seen>();
  const token_sink to = f.system.spawn(sink, seen);
  f.submit(1, to, 4);
  f.scheduler.run();
  CHECK(seen->text == "defg");
  REQUIRE(seen->finished.size() == 1);
  CHECK(seen->finished[0].finish_reason == "length");
  CHECK(seen->finished[0].prompt_ids == std::vector<model::TokenId>{0, 1, 2});
  // The last step only lets the sequence go.
  CHECK(f.stage->steps.back().closed == std::vector<std::uint64_t>{1});
  caf::anon_send_exit(to, caf::exit_reason::kill);
}

TEST_CASE("engine actor: an answer of another arithmetic version ends with its text so far") {
  Fixture f;
  const auto seen = std::make_shared<Seen>();
  const token_sink to = f.system.spawn(sink, seen);
  auto message = std::make_shared<Submit>();
  message->request = 1;
  message->prompt = "abc";
  message->raw = true;
  message->max_tokens = 9;
  message->answer_ids = {7, 8, 9};
  message->arithmetic = kArithmeticVersion - 1;
  caf::anon_send(f.engine, submit_atom::value, SubmitPtr(message), to);
  f.scheduler.run();
  CHECK(seen->text == "hij");
  REQUIRE(seen->finished.size() == 1);
  const Finished& end = seen->finished[0];
  CHECK(end.finish_reason == "error");
  CHECK(end.outcome.status().code() == Code::kFailedPrecondition);
  CHECK(end.outcome.text.find("begun by arithmetic version " +
                              std::to_string(kArithmeticVersion - 1)) != std::string::npos);
  CHECK(end.outcome.text.find("now computes by version " + std::to_string(kArithmeticVersion)) !=
        std::string::npos);
  CHECK(end.text == "hij");
  CHECK(end.token_ids == message->answer_ids);
  CHECK(end.prompt_ids == std::vector<model::TokenId>{0, 1, 2});
  CHECK(f.stage->steps.empty());  // nothing of the answer was computed

  // Under its own version, it goes on, and sends nothing twice.
  auto own = std::make_shared<Submit>(*message);
  own->request = 2;
  own->arithmetic = kArithmeticVersion;
  seen->text.clear();
  caf::anon_send(f.engine, submit_atom::value, SubmitPtr(own), to);
  f.scheduler.run();
  REQUIRE(seen->finished.size() == 2);
  CHECK(seen->finished[1].finish_reason == "length");
  CHECK(seen->finished[1].text == "hij" + seen->text);
  CHECK(seen->text.size() == 6);
  caf::anon_send_exit(to, caf::exit_reason::kill);
}

TEST_CASE("engine actor: a sink that goes away frees its request") {
  Fixture f;
  f.stage->silent = true;
  const auto seen = std::make_shared<Seen>();
  const token_sink to = f.system.spawn(sink, seen);
  f.submit(1, to, 50);
  f.scheduler.run();
  REQUIRE(f.stage->steps.size() == 1);
  caf::anon_send_exit(to, caf::exit_reason::user_shutdown);
  f.scheduler.run();
  REQUIRE(f.stage->steps.size() == 2);
  CHECK(f.stage->steps[1].segments.empty());
  CHECK(f.stage->steps[1].closed == std::vector<std::uint64_t>{1});
}

TEST_CASE("engine actor: a lost stage ends every request with the reason") {
  Fixture f;
  f.stage->silent = true;
  const auto seen = std::make_shared<Seen>();
  const token_sink to = f.system.spawn(sink, seen);
  f.submit(1, to, 50);
  f.submit(2, to, 50);
  f.scheduler.run();
  caf::anon_send(f.engine, fail_atom::value,
                 std::make_shared<const Status>(Code::kUnavailable, "node b is gone"));
  f.scheduler.run();
  REQUIRE(seen->finished.size() == 2);
  for (const Finished& finished : seen->finished) {
    CHECK(finished.finish_reason == "error");
    CHECK(finished.outcome.text == "node b is gone");
  }
  caf::anon_send_exit(to, caf::exit_reason::kill);
}

TEST_CASE("engine actor: a halted engine replays under the new epoch, and the old one is stale") {
  Fixture f;
  f.stage->silent = true;
  const auto seen = std::make_shared<Seen>();
  const token_sink to = f.system.spawn(sink, seen);
  f.submit(1, to, 3);
  f.scheduler.run();
  REQUIRE(f.stage->steps.size() == 1);
  // This is what the coordinator does: nothing of the old epoch is delivered, and nothing is sent.
  f.link->detach_engine(Fixture::kEpoch);
  caf::anon_send(f.engine, halt_atom::value, std::string("b"));
  f.submit(2, to, 3);  // waits
  f.scheduler.run();
  CHECK(f.stage->steps.size() == 1);
  CHECK(f.counters->replays == 1);
  CHECK(f.counters->replayed_tokens > 0);
  const std::uint64_t stale = f.link->counters().stale_frames;
  StepDone late;
  late.tokens.push_back({1, 3, 25, {}});
  REQUIRE(f.link->send(f.link->self(), MessageType::kStepDone, late, Fixture::kEpoch, 1).is_ok());
  f.scheduler.run();
  CHECK(f.link->counters().stale_frames == stale + 1);
  CHECK(seen->text.empty());

  const auto anew = std::make_shared<FakeStage>();
  const frame_sink worker = f.system.spawn(fake_stage, f.link, Fixture::kEpoch + 1, anew);
  f.link->attach_worker(Fixture::kEpoch + 1, f.link->self(), worker);
  f.link->attach_engine(Fixture::kEpoch + 1, {f.link->self(), {f.link->self()}}, f.engine);
  auto placement = std::make_shared<EnginePlacement>();
  placement->epoch = Fixture::kEpoch + 1;
  placement->first_stage = f.link->self();
  placement->limits.context_max = 100;
  caf::anon_send(f.engine, resume_atom::value, EnginePlacementPtr(placement));
  f.scheduler.run();
  CHECK(f.stage->steps.size() == 1);
  CHECK(anew->steps.front().segments.front().position == 0);
  CHECK(seen->finished.size() == 2);
  CHECK(seen->text == "ddeeff");
  caf::anon_send_exit(to, caf::exit_reason::kill);
  caf::anon_send_exit(worker, caf::exit_reason::kill);
}

TEST_CASE("engine actor: a prompt that cannot be is refused in words") {
  Fixture f;
  const auto seen = std::make_shared<Seen>();
  const token_sink to = f.system.spawn(sink, seen);
  auto message = std::make_shared<Submit>();
  message->request = 1;
  message->max_tokens = 4;
  caf::anon_send(f.engine, submit_atom::value, SubmitPtr(message), to);
  auto chat = std::make_shared<Submit>(*message);
  chat->request = 2;
  chat->prompt = "hello";  // a chat, and the model has no template
  caf::anon_send(f.engine, submit_atom::value, SubmitPtr(chat), to);
  f.scheduler.run();
  REQUIRE(seen->finished.size() == 2);
  CHECK(seen->finished[0].outcome.text.find("no prompt") != std::string::npos);
  CHECK(seen->finished[1].outcome.text.find("--raw") != std::string::npos);
  CHECK(f.stage->steps.empty());
  caf::anon_send_exit(to, caf::exit_reason::kill);
}

TEST_CASE("engine actor: a prompt that takes long to read holds up no other answer") {
  const auto tokenizer = std::make_shared<HeldTokenizer>();
  Fixture f(tokenizer, 20'000);
  const auto seen = std::make_shared<Seen>();
  const token_sink to = f.system.spawn(sink, seen);
  f.submit_long(1, to, 9'000);
  f.submit(2, to, 4);
  f.scheduler.run();
  REQUIRE(seen->finished.size() == 1);
  CHECK(seen->finished[0].request == 2);
  CHECK(seen->text == "defg");
  tokenizer->release();
  REQUIRE(f.run_until([&] { return seen->finished.size() == 2; }));
  CHECK(seen->finished[1].finish_reason == "length");
  CHECK(seen->finished[1].prompt_ids.size() == 9'000);
  caf::anon_send_exit(to, caf::exit_reason::kill);
}

TEST_CASE("engine actor: a prompt far too long for the context is refused by its size") {
  const auto tokenizer = std::make_shared<HeldTokenizer>();
  tokenizer->release();
  Fixture f(tokenizer, 100);
  const auto seen = std::make_shared<Seen>();
  const token_sink to = f.system.spawn(sink, seen);
  f.submit_long(1, to, 12'000'000);
  f.submit_long(2, to, 1'001);  // so short that all its tokens are counted
  REQUIRE(f.run_until([&] { return seen->finished.size() == 2; }));
  CHECK(f.stage->steps.empty());
  const auto text_of = [&](std::uint64_t request) {
    return seen->finished[seen->finished[0].request == request ? 0 : 1].outcome.text;
  };
  CHECK(text_of(1).find("the prompt has 12000000 bytes") != std::string::npos);
  CHECK(text_of(1).find("the context only 100") != std::string::npos);
  CHECK(text_of(2).find("the prompt has 1001 tokens, the context only 100") != std::string::npos);
  caf::anon_send_exit(to, caf::exit_reason::kill);
}

TEST_CASE("engine actor: requests whose prompts are being read count as requests") {
  const auto tokenizer = std::make_shared<HeldTokenizer>();
  Fixture f(tokenizer, 20'000);
  const auto seen = std::make_shared<Seen>();
  const token_sink to = f.system.spawn(sink, seen);
  const std::uint64_t most = EngineLimits{}.requests_max;
  for (std::uint64_t request = 1; request <= most + 1; ++request) f.submit_long(request, to, 9'000);
  f.scheduler.run();
  REQUIRE(seen->finished.size() == 1);
  CHECK(seen->finished[0].request == most + 1);
  CHECK(seen->finished[0].outcome.status().code() == Code::kResourceExhausted);
  caf::anon_send(f.engine, fail_atom::value,
                 std::make_shared<const Status>(Code::kUnavailable, "the test is over"));
  f.scheduler.run();
  CHECK(seen->finished.size() == most + 1);
  tokenizer->release();
  caf::anon_send_exit(to, caf::exit_reason::kill);
}

TEST_CASE("engine actor: a request ends while its prompt is read") {
  const auto tokenizer = std::make_shared<HeldTokenizer>();
  Fixture f(tokenizer, 20'000);
  const auto seen = std::make_shared<Seen>(), others = std::make_shared<Seen>();
  const token_sink to = f.system.spawn(sink, seen), gone = f.system.spawn(sink, others);
  f.submit_long(1, to, 9'000);
  f.submit_long(2, gone, 9'000);
  f.submit_long(3, to, 9'000);
  f.scheduler.run();
  caf::anon_send(f.engine, cancel_atom::value, std::uint64_t{1});
  caf::anon_send_exit(gone, caf::exit_reason::user_shutdown);
  f.scheduler.run();
  REQUIRE(seen->finished.size() == 1);
  CHECK(seen->finished[0].finish_reason == "cancelled");
  tokenizer->release();
  REQUIRE(f.run_until([&] { return seen->finished.size() == 2; }));
  CHECK(seen->finished[1].request == 3);
  CHECK(others->finished.empty());
  for (const Step& step : f.stage->steps) {
    for (const StepSegment& segment : step.segments) CHECK(segment.request == 3);
  }
  caf::anon_send_exit(to, caf::exit_reason::kill);
}

TEST_CASE("engine actor: a lost stage ends requests whose prompts are read, too") {
  const auto tokenizer = std::make_shared<HeldTokenizer>();
  Fixture f(tokenizer, 20'000);
  const auto seen = std::make_shared<Seen>();
  const token_sink to = f.system.spawn(sink, seen);
  f.submit_long(1, to, 9'000);
  f.scheduler.run();
  caf::anon_send(f.engine, fail_atom::value,
                 std::make_shared<const Status>(Code::kUnavailable, "node b is gone"));
  f.scheduler.run();
  REQUIRE(seen->finished.size() == 1);
  CHECK(seen->finished[0].outcome.text == "node b is gone");
  tokenizer->release();
  caf::anon_send_exit(to, caf::exit_reason::kill);
}
