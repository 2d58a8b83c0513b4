#include <cmath>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/training/adapter_folder.h>
#include <troupe/model/training/preference.h>
#include <troupe/model/training/trainer.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

namespace {

// Returns a chat of the recorded pairs: the first `prompt` tokens are not trained.
Example answer(std::vector<TokenId> ids, std::size_t prompt) {
  Example example = next_token_example(std::move(ids));
  for (std::size_t i = 0; i + 1 < prompt; ++i) example.targets[i] = kNoTarget;
  return example;
}

std::vector<Example> recorded_pairs(const nlohmann::json& recorded) {
  std::vector<Example> pairs;
  for (const auto& pair : recorded["pairs"])
    for (const char* side : {"chosen", "rejected"})
      pairs.push_back(answer(pair[side], pair["prompt"]));
  return pairs;
}

std::unique_ptr<Trainer> trainer_of(const TinyModel& tiny, Device& device, double beta,
                                    std::size_t micro_batch = 0) {
  TrainerOptions options;
  options.network.micro_batch = micro_batch;
  options.optimizer.weight_decay = 0.01;
  options.optimizer.decays_vectors = true;
  options.lora.rank = 4;
  options.preference_beta = beta;
  auto trainer = Trainer::create(*tiny.source, tiny.config, device, options);
  INFO(trainer.message());
  REQUIRE(trainer.is_ok());
  return std::move(*trainer);
}

// Gives the trainer the adapters that PEFT wrote, instead of its own.
void take_recorded_adapter(const TinyModel& tiny, Device& device, Trainer* trainer) {
  auto weights =
      load_weights(*tiny.source, tiny.config, {0, tiny.config.layers}, device.pool(), {});
  REQUIRE(weights.is_ok());
  trainer->parameters() = Parameters(tiny.config, std::move(*weights), device.pool());
  freeze_for_adapters(trainer->parameters());
  REQUIRE(
      read_adapter_folder(TROUPE_TEST_DATA "/golden/lora/llama", tiny.config, trainer->parameters())
          .is_ok());
}

}  // namespace

TEST_CASE("the loss of preferences, its gradient and its training are PyTorch's") {
  const auto recorded =
      nlohmann::json::parse(std::ifstream(TROUPE_TEST_DATA "/golden/training.json"))["preference"];
  const TinyModel tiny("llama");
  const auto device = training_device(2);
  const auto trainer = trainer_of(tiny, *device, recorded["beta"]);
  take_recorded_adapter(tiny, *device, trainer.get());
  const std::vector<double> losses = recorded["loss"], norms = recorded["gradient_norm"];
  for (std::size_t step = 0; step < losses.size(); ++step) {
    INFO("step " << step);
    const auto report = trainer->step(recorded_pairs(recorded), recorded["rate"]);
    REQUIRE(report.is_ok());
    CHECK(report->targets == 3);
    CHECK(report->loss == Approx(losses[step]).epsilon(step == 0 ? 1e-5 : 1e-3));
    CHECK(report->gradient_norm == Approx(norms[step]).epsilon(step == 0 ? 1e-4 : 1e-2));
  }
}

TEST_CASE("at the first step the loss of preferences is ln 2 to the last bit") {
  const TinyModel tiny("llama");
  const auto device = training_device(1);
  const auto trainer = trainer_of(tiny, *device, 0.1);
  std::vector<Example> pairs;
  for (TokenId i = 0; i < 4; ++i) {
    pairs.push_back(answer({i, 30, 31 + i, 2}, 2));
    pairs.push_back(answer({i, 40, 2}, 2));
  }
  const auto report = trainer->step(pairs, 1e-2);
  REQUIRE(report.is_ok());
  CHECK(report->loss == static_cast<double>(std::log(2.0f)));
  CHECK(report->hits == 0);
  const auto later = trainer->step(pairs, 1e-2);
  CHECK(later->loss < report->loss);
  CHECK(later->hits == 4);
}

TEST_CASE("preferences have the same bits for threads and micro-batches") {
  const TinyModel tiny("llama");
  std::string sha256;
  for (const auto& [threads, micro_batch] : {std::pair<int, std::size_t>{1, 0}, {2, 1}, {3, 3}}) {
    const auto device = training_device(threads);
    const auto trainer = trainer_of(tiny, *device, 0.5, micro_batch);
    for (int step = 0; step < 5; ++step)
      REQUIRE(trainer
                  ->step(std::vector<Example>{answer({3, 4, 5, 6, 7}, 2), answer({3, 4, 9}, 2),
                                              answer({8, 4, 50, 2}, 3), answer({8, 4, 51}, 3)},
                         1e-2)
                  ->applied);
    if (sha256.empty()) sha256 = trainer->parameters().sha256();
    CHECK(trainer->parameters().sha256() == sha256);
  }
}

TEST_CASE("a large margin gives a loss and weights that are finite") {
  const PreferenceLoss sums = preference_loss(std::vector<double>{0.0, 1e6, 1e6, 0.0},
                                              std::vector<double>{0, 0, 0, 0}, 1.0);
  CHECK(sums.loss == Approx(1e6));
  CHECK(sums.hits == 1);
  CHECK(sums.weights[0] == Approx(0.0f).margin(1e-30));
  CHECK(sums.weights[2] == 1.0f);
  CHECK(sums.weights[3] == -1.0f);
}

TEST_CASE("preferences without a reference are refused") {
  const TinyModel tiny("llama");
  const auto device = training_device(1);
  TrainerOptions options;
  options.preference_beta = 0.1;
  CHECK_THAT(Trainer::create(*tiny.source, tiny.config, *device, options).message(),
             Catch::Contains("give --lora-rank"));
}
