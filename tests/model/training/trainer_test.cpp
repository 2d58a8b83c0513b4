#include <cmath>
#include <cstdlib>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/training/trainer.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

namespace {

nlohmann::json golden(const std::string& name) {
  return nlohmann::json::parse(std::ifstream(TROUPE_TEST_DATA "/golden/" + name));
}

}  // namespace

TEST_CASE("fine-tuning the real model gives the recorded losses and gradient norms") {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: fine-tuning the real model (TROUPE_TEST_MODEL is not set)");
    return;
  }
  const auto source = open_model(path);
  REQUIRE(source.is_ok());
  const auto config = config_from_gguf((*source)->header());
  REQUIRE(config.is_ok());
  const auto device = training_device(2);
  TrainerOptions options;
  options.optimizer.beta2 = 0.95;
  options.optimizer.weight_decay = 0.1;
  options.optimizer.decays_vectors = true;
  options.optimizer.clip_norm = 1.0;
  const auto trainer = Trainer::create(**source, *config, *device, options);
  REQUIRE(trainer.is_ok());
  const auto recorded = golden("smollm2_finetune.json");
  const std::vector<TokenId> ids = recorded["token_ids"];
  const std::vector<double> losses = recorded["loss"];
  const std::vector<double> norms = recorded["grad_norm_before_clip"];
  constexpr std::ptrdiff_t kWindow = 128;
  for (std::size_t step = 0; step < losses.size(); ++step) {
    std::vector<Example> batch;
    for (std::ptrdiff_t i = 0; i < 2; ++i) {
      const auto first = ids.begin() + (2 * static_cast<std::ptrdiff_t>(step) + i) * kWindow;
      batch.push_back(next_token_example({first, first + kWindow}));
    }
    const auto report = (*trainer)->step(batch, 1e-4);
    REQUIRE(report.is_ok());
    INFO("step " << step);
    CHECK(report->applied);
    CHECK(std::abs(report->loss - losses[step]) < 1e-3);
    CHECK(report->gradient_norm == Approx(norms[step]).epsilon(0.01));
  }
}

TEST_CASE("weights after 40 steps are the same for threads, micro-batches and targets") {
  for (const std::string family : {"llama", "gpt2", "bert"}) {
    const TinyModel tiny(family);
    std::vector<float> expected;
    const auto compare = [&](int threads, std::optional<kernels::Isa> isa,
                             std::size_t micro_batch) {
      const auto device = training_device(threads, isa);
      TrainerOptions options;
      options.network.micro_batch = micro_batch;
      options.optimizer.clip_norm = 1.0;
      const auto trainer = Trainer::create(*tiny.source, tiny.config, *device, options);
      REQUIRE(trainer.is_ok());
      const auto batch = tiny.batch();
      double first_loss = 0, last_loss = 0;
      for (int step = 0; step < 40; ++step) {
        const auto report = (*trainer)->step(batch, 1e-3);
        REQUIRE(report.is_ok());
        REQUIRE(report->applied);
        if (step == 0) first_loss = report->loss;
        last_loss = report->loss;
      }
      CHECK(last_loss < first_loss / 2);
      std::vector<float> weights;
      for (Parameter& parameter : (*trainer)->parameters().all())
        weights.insert(weights.end(), parameter.values(), parameter.values() + parameter.floats);
      if (expected.empty()) expected = weights;
      INFO(family << ", " << threads << " threads, micro-batches of " << micro_batch);
      REQUIRE(std::memcmp(weights.data(), expected.data(), weights.size() * sizeof(float)) == 0);
    };
    compare(1, {}, 0);
    compare(2, {}, 1);
    compare(4, {}, 2);
    compare(2, kernels::Isa::kScalar, 2);
  }
}
