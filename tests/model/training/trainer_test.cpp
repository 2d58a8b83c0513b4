#include <cmath>
#include <cstdlib>
#include <cstring>
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

namespace {

// Returns the tiny batch with all ids shifted, so that batches read different rows of the table.
std::vector<Example> moved_batch(const TinyModel& tiny, std::size_t by) {
  std::vector<Example> batch = tiny.batch();
  const auto moved = [&](TokenId id) {
    const auto vocabulary = static_cast<TokenId>(tiny.config.vocabulary);
    return id == kNoTarget ? id : static_cast<TokenId>((id % 16 + by) % vocabulary);
  };
  for (Example& example : batch) {
    for (TokenId& id : example.ids) id = moved(id);
    for (TokenId& id : example.targets) id = moved(id);
  }
  return batch;
}

}  // namespace

TEST_CASE("rows that no batch reads are updated later to the same bits") {
  struct Case {
    const char* family;
    OptimizerKind kind;
    double momentum, weight_decay;
  };
  for (const Case& one :
       {Case{"bert", OptimizerKind::kAdamW, 0, 0.1}, Case{"bert", OptimizerKind::kAdamW, 0, 0},
        Case{"bert", OptimizerKind::kSgd, 0.9, 0.1}, Case{"bert", OptimizerKind::kSgd, 0, 0.1},
        Case{"qwen3", OptimizerKind::kAdamW, 0, 0.1}}) {
    INFO(one.family << ", momentum " << one.momentum << ", decay " << one.weight_decay);
    const TinyModel tiny(one.family);
    // Which updates are postponed: none, those that each step leaves until it has ended, or all
    // until the end.
    enum class Later { kNever, kStep, kEnd };
    const auto train = [&](Later later, std::vector<double>* losses) {
      const auto device = training_device(2);
      TrainerOptions options;
      options.optimizer.kind = one.kind;
      options.optimizer.momentum = one.momentum;
      options.optimizer.weight_decay = one.weight_decay;
      options.optimizer.clip_norm = 1.0;
      auto trainer = Trainer::create(*tiny.source, tiny.config, *device, options);
      REQUIRE(trainer.is_ok());
      if (later == Later::kNever)
        (*trainer)->parameters().find(kNoLayer, kTokenEmbedding)->is_looked_up = false;
      for (std::size_t step = 0; step < 30; ++step) {
        const double rate = 1e-2 / static_cast<double>(1 + step % 5);
        const auto report = (*trainer)->step(moved_batch(tiny, step / 3 % 4 * 16), rate);
        REQUIRE(report.is_ok());
        REQUIRE(report->applied);
        losses->push_back(report->loss);
        losses->push_back(report->gradient_norm);
        if (step % 7 == 0)
          losses->push_back((*trainer)->evaluate(moved_batch(tiny, step * 5))->loss);
        if (later == Later::kStep) (*trainer)->parameters();
      }
      std::vector<float> values;
      for (Parameter* parameter : (*trainer)->parameters().trained()) {
        values.insert(values.end(), parameter->values(), parameter->values() + parameter->floats);
        for (const AlignedBuffer* moment : {&parameter->first_moment, &parameter->second_moment}) {
          const auto* from = reinterpret_cast<const float*>(moment->data());
          values.insert(values.end(), from, from + moment->bytes() / sizeof(float));
        }
      }
      return values;
    };
    std::vector<double> losses;
    const std::vector<float> at_once = train(Later::kNever, &losses);
    for (const Later later : {Later::kStep, Later::kEnd}) {
      std::vector<double> later_losses;
      const std::vector<float> values = train(later, &later_losses);
      CHECK(losses == later_losses);
      REQUIRE(at_once.size() == values.size());
      CHECK(std::memcmp(at_once.data(), values.data(), values.size() * sizeof(float)) == 0);
    }
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
