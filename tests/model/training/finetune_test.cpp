#include <algorithm>
#include <fstream>
#include <set>

#include <catch2/catch.hpp>

#include <troupe/model/training/event_file.h>
#include <troupe/model/training/finetune.h>
#include <troupe/runtime/failpoint.h>
#include <troupe/tests/model/training/scratch_folder.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

// Makes ten short examples of the tiny model's vocabulary.
std::vector<Example> ten_examples() {
  std::vector<Example> examples;
  for (TokenId i = 0; i < 10; ++i)
    examples.push_back(next_token_example({i, i + 20, i + 40, i % 3, i % 7, i + 60}));
  return examples;
}

struct TinyRun {
  TinyRun() : tiny("llama"), device(training_device(2)), examples(ten_examples()) {
    options.run.batch_size = 3;
    options.run.epochs = 3;  // 12 steps, 4 an epoch
    options.run.schedule.learning_rate = 1e-2;
    options.folder = scratch.path();
    options.identity = {{"seed", "0"}, {"data", "abc"}};
  }

  // Trains with a new trainer, whose weights are weights().
  Result<FinetuneResult> run() {
    auto made = Trainer::create(*tiny.source, tiny.config, *device, {});
    REQUIRE(made.is_ok());
    trainer = std::move(*made);
    return finetune(*trainer, examples, validation, options);
  }
  std::vector<float> weights() {
    std::vector<float> all;
    for (Parameter& parameter : trainer->parameters().all())
      all.insert(all.end(), parameter.values(), parameter.values() + parameter.floats);
    return all;
  }
  void stop_after(std::uint64_t step) {
    options.on_step = [this, step](const StepEvent& event) { stopping = event.step == step; };
    options.should_stop = [this] { return stopping; };
  }

  TinyModel tiny;
  ScratchFolder scratch;
  std::unique_ptr<Device> device;
  std::vector<Example> examples, validation;
  FinetuneOptions options;
  std::unique_ptr<Trainer> trainer;
  bool stopping = false;
};

}  // namespace

TEST_CASE("a run that was stopped goes on to the same weights") {
  TinyRun straight;
  REQUIRE(straight.run().is_ok());
  const std::vector<float> expected = straight.weights();
  TinyRun run;
  for (const std::uint64_t step : {5, 9}) {  // in the second epoch, and in the third
    run.stop_after(step);
    const auto stopped = run.run();
    REQUIRE(stopped.is_ok());
    CHECK(stopped->stopped);
    CHECK(stopped->steps == step);
  }
  run.options.should_stop = nullptr;
  const auto done = run.run();
  REQUIRE(done.is_ok());
  CHECK(done->steps == 12);
  CHECK(run.weights() == expected);
}

TEST_CASE("only so many checkpoints stay, and a damaged one is passed over") {
  TinyRun run;
  run.options.save_every = 2;
  run.options.keep = 2;
  REQUIRE(run.run().is_ok());
  const std::vector<float> expected = run.weights();
  CHECK(fs::exists(run.scratch.path() / "checkpoint-10"));
  CHECK(fs::exists(run.scratch.path() / "checkpoint-12"));
  CHECK_FALSE(fs::exists(run.scratch.path() / "checkpoint-8"));
  {
    std::fstream file(run.scratch.path() / "checkpoint-12" / "state.safetensors",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(20000);
    file.put(static_cast<char>(file.get() ^ 1));
  }
  std::vector<std::string> notes;
  run.options.on_note = [&](const std::string& note) { notes.push_back(note); };
  REQUIRE(run.run().is_ok());
  REQUIRE(notes.size() == 2);
  CHECK_THAT(notes[0], Contains("checkpoint-12") && Contains("damaged"));
  CHECK_THAT(notes[1], Contains("from step 10"));
  CHECK(run.weights() == expected);
}

TEST_CASE("the event file of a run that goes on has each step once") {
  TinyRun straight;
  straight.options.events = straight.scratch.path() / kEventFileName;
  straight.validation.assign(straight.examples.begin(), straight.examples.begin() + 2);
  straight.options.evaluate_every = 5;
  REQUIRE(straight.run().is_ok());
  const std::uintmax_t bytes = fs::file_size(straight.options.events);
  TinyRun run;
  run.options.events = run.scratch.path() / kEventFileName;
  run.options.evaluate_every = 5;
  run.validation = straight.validation;
  run.options.save_every = 5;
  // The file is ahead of the checkpoint of step 5 when the run ends.
  run.options.on_step = [&](const StepEvent& event) {
    if (event.step == 8)
      arm_failpoint("training.events.write", 1,
                    [] { return Status(Code::kResourceExhausted, "the disk is full"); });
  };
  const auto failed = run.run();
  disarm_failpoints();
  REQUIRE_FALSE(failed.is_ok());
  CHECK_THAT(failed.message(), Contains("the disk is full"));
  run.options.on_step = nullptr;
  REQUIRE(run.run().is_ok());
  CHECK(fs::file_size(run.options.events) == bytes);
  // Run once more from the last step: nothing is left to do or to write.
  run.options.save_every = 12;
  REQUIRE(run.run().is_ok());
  REQUIRE(run.run().is_ok());
  CHECK(fs::file_size(run.options.events) == bytes);
  std::vector<std::string> notes;
  run.options.on_note = [&](const std::string& note) { notes.push_back(note); };
  fs::remove(run.options.events);
  REQUIRE(run.run().is_ok());
  REQUIRE(notes.size() == 2);
  CHECK_THAT(notes[1], Contains("has lost the records of steps before 13"));
}

TEST_CASE("a checkpoint of another run is refused with the fields that differ") {
  TinyRun run;
  run.options.save_every = 4;
  REQUIRE(run.run().is_ok());
  run.options.identity = {{"seed", "1"}, {"data", "abc"}};
  const auto refused = run.run();
  REQUIRE_FALSE(refused.is_ok());
  CHECK(refused.code() == Code::kFailedPrecondition);
  CHECK_THAT(refused.message(), Contains("seed (0 there, 1 now)") && !Contains("data ("));
  run.options.resumes = false;
  CHECK(run.run().is_ok());
}

TEST_CASE("whatever fails while a checkpoint is written, the one before loads") {
  for (const char* place : {"files.safetensors.write", "files.safetensors.rename",
                            "training.checkpoint.manifest", "training.checkpoint.prune"}) {
    INFO(place);
    TinyRun straight;
    REQUIRE(straight.run().is_ok());
    TinyRun run;
    run.options.save_every = 3;
    run.options.keep = 1;
    run.options.on_step = [&](const StepEvent& event) {
      if (event.step == 6)
        arm_failpoint(place, 1,
                      [] { return Status(Code::kResourceExhausted, "the disk is full"); });
    };
    const auto failed = run.run();
    disarm_failpoints();
    REQUIRE_FALSE(failed.is_ok());
    CHECK_THAT(failed.message(), Contains("the disk is full"));
    run.options.on_step = nullptr;
    std::vector<std::string> notes;
    run.options.on_note = [&](const std::string& note) { notes.push_back(note); };
    REQUIRE(run.run().is_ok());
    REQUIRE_FALSE(notes.empty());
    CHECK_THAT(notes.back(), Contains("going on from step"));
    CHECK(run.weights() == straight.weights());
  }
}

TEST_CASE("a step that is not finite changes nothing, and the third in a row ends the run") {
  TinyRun run;
  run.options.run.steps_max = 5;
  run.options.save_every = 1;
  auto made = Trainer::create(*run.tiny.source, run.tiny.config, *run.device, {});
  REQUIRE(made.is_ok());
  run.trainer = std::move(*made);
  std::vector<float> before;
  std::vector<bool> applied;
  run.options.on_step = [&](const StepEvent& event) {
    applied.push_back(event.report.applied);
    if (event.step == 1) {
      // From now on every loss is infinite.
      for (float& value : run.trainer->parameters().find(kNoLayer, kOutputNorm)->weight->vector)
        value = std::numeric_limits<float>::infinity();
      before = run.weights();
    }
    if (event.step > 1) CHECK(run.trainer->optimizer().steps() == 1);
  };
  const auto result = finetune(*run.trainer, run.examples, {}, run.options);
  REQUIRE_FALSE(result.is_ok());
  CHECK(applied == std::vector<bool>{true, false, false, false});
  CHECK(std::memcmp(run.weights().data(), before.data(), before.size() * sizeof(float)) == 0);
  CHECK_THAT(result.message(),
             Contains("step 4") && Contains("third time in a row") && Contains("checkpoint-"));
}

TEST_CASE("examples that do not fit the model are refused by number and value") {
  TinyRun run;
  const auto message = [&](Example example) {
    run.examples = {std::move(example)};
    run.options.resumes = false;
    const auto result = run.run();
    REQUIRE_FALSE(result.is_ok());
    return result.message();
  };
  CHECK_THAT(message(next_token_example(std::vector<TokenId>(65, 1))),
             Contains("65 tokens") && Contains("takes 64"));
  CHECK_THAT(message(next_token_example({1, 128})), Contains("token id 128"));
  Example masked = next_token_example({1, 2, 3});
  masked.targets.assign(3, kNoTarget);
  CHECK_THAT(message(masked), Contains("nothing to learn"));
}

namespace {

// Returns the same examples with other continuations, so that training soon makes their loss
// larger.
std::vector<Example> contrary_examples() {
  std::vector<Example> examples = ten_examples();
  for (Example& example : examples)
    for (TokenId& target : example.targets)
      if (target != kNoTarget) target = (target * 7 + 3) % 100;
  return examples;
}

}  // namespace

TEST_CASE("a run stops early with the weights of its best evaluation, also when it was resumed") {
  const auto early = [](TinyRun* run) {
    run->options.run.epochs = 10;
    run->options.run.schedule.learning_rate = 1e-3;
    run->validation = contrary_examples();
    run->options.evaluate_every = 1;
    run->options.patience = 4;
    run->options.keep = 1;
  };
  TinyRun straight;
  early(&straight);
  std::vector<double> losses;
  straight.options.on_evaluation = [&](const EvaluationEvent& event) {
    losses.push_back(event.loss);
  };
  const auto result = straight.run();
  INFO(result.message());
  REQUIRE(result.is_ok());
  REQUIRE(result->stopped_early);
  REQUIRE(result->steps < 40);
  const std::uint64_t best = result->evaluation.step;
  CHECK(result->steps == best + 4);
  CHECK(*std::min_element(losses.begin(), losses.end()) == losses[best - 1]);
  CHECK(result->evaluation.loss == losses[best - 1]);
  const std::vector<float> weights = straight.weights();

  // The weights are those of a run that has only these steps.
  TinyRun shorter;
  early(&shorter);
  shorter.options.patience = 0;
  shorter.options.run.steps_max = best;
  REQUIRE(shorter.run().is_ok());
  CHECK(shorter.weights() == weights);

  // A run that was stopped after its best step continues to count from there.
  TinyRun resumed;
  early(&resumed);
  resumed.stop_after(best + 2);
  REQUIRE(resumed.run()->stopped);
  resumed.options.should_stop = nullptr;
  const auto end = resumed.run();
  REQUIRE(end.is_ok());
  CHECK(end->stopped_early);
  CHECK(end->steps == best + 4);
  CHECK(resumed.weights() == weights);
}

TEST_CASE("the best checkpoint stays when later ones push older ones out") {
  TinyRun run;
  run.validation = contrary_examples();
  run.options.run.epochs = 10;
  run.options.run.schedule.learning_rate = 1e-3;
  run.options.evaluate_every = 1;
  run.options.patience = 30;
  run.options.save_every = 1;
  run.options.keep = 1;
  const auto result = run.run();
  REQUIRE(result.is_ok());
  std::set<std::string> found;
  for (const auto& entry : fs::directory_iterator(run.scratch.path()))
    found.insert(entry.path().filename().string());
  CHECK(found == std::set<std::string>{"checkpoint-" + std::to_string(result->steps),
                                       "checkpoint-" + std::to_string(result->evaluation.step)});
}

TEST_CASE("dropout of a run is drawn anew in each epoch") {
  TinyRun run;
  run.options.run.batch_size = 10;
  run.options.run.shuffled = false;
  run.options.run.schedule.learning_rate = 1e-30;  // the weights stay: only dropout differs
  TrainerOptions options;
  options.lora.rank = 4;
  options.lora.dropout = 0.5;
  auto made = Trainer::create(*run.tiny.source, run.tiny.config, *run.device, options);
  REQUIRE(made.is_ok());
  for (const auto& adapter : (*made)->parameters().adapters())
    for (std::size_t row = 0; row < adapter->up.spec.rows; ++row)
      adapter->b(row, 0) = row % 2 == 0 ? 0.5f : -0.5f;
  std::set<double> losses;
  run.options.on_step = [&](const StepEvent& event) { losses.insert(event.report.loss); };
  REQUIRE(finetune(**made, run.examples, {}, run.options).is_ok());
  CHECK(losses.size() == 3);
}
