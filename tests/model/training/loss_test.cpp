#include <algorithm>
#include <cmath>
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

nlohmann::json recorded() {
  return nlohmann::json::parse(std::ifstream(TROUPE_TEST_DATA "/golden/losses.json"));
}

std::unique_ptr<Trainer> classifier(const TinyModel& tiny, Device& device, std::size_t labels,
                                    const LossOptions& loss, std::size_t micro_batch = 0) {
  TrainerOptions options;
  options.labels = labels;
  options.network.micro_batch = micro_batch;
  options.network.loss = loss;
  return trainer_of(tiny, device, options);
}

// Gives every example the logits `bias`: the matrix of the head becomes zero.
void set_logits(Trainer& trainer, const std::vector<float>& bias) {
  Parameter* matrix = trainer.parameters().find(kNoLayer, kClassifier);
  std::memset(matrix->values(), 0, matrix->floats * sizeof(float));
  std::copy(bias.begin(), bias.end(),
            trainer.parameters().find(kNoLayer, kClassifierBias)->values());
}

std::vector<Example> examples(const TinyModel& tiny, std::size_t count) {
  const std::vector<Example> two = tiny.batch();
  std::vector<Example> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(two[i % 2]);
  return out;
}

const float* bias_gradient(Trainer& trainer) {
  return trainer.parameters().find(kNoLayer, kClassifierBias)->gradient_values();
}

}  // namespace

TEST_CASE("a classifier may have more labels than a block of a vocabulary") {
  constexpr std::size_t kLabels = 2050;
  const TinyModel tiny("bert");
  const auto device = training_device(2);
  std::vector<float> bias(kLabels);
  double sum = 0.0;
  for (std::size_t i = 0; i < kLabels; ++i) {
    bias[i] = static_cast<float>(i % 7) * 0.25f;
    sum += std::exp(static_cast<double>(bias[i]));
  }
  const std::vector<std::size_t> targets = {0, 2047, 2049};
  std::vector<Example> batch = examples(tiny, targets.size());
  double loss = 0.0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    batch[i].label = targets[i];
    loss += std::log(sum) - static_cast<double>(bias[targets[i]]);
  }
  const auto trainer = classifier(tiny, *device, kLabels, {});
  set_logits(*trainer, bias);
  const BatchSums sums = trainer->network().gradients(batch);
  CHECK(sums.loss == Approx(loss).epsilon(1e-5));
  const float* gradient = bias_gradient(*trainer);
  for (const std::size_t k :
       {std::size_t{0}, std::size_t{1}, std::size_t{2047}, std::size_t{2048}, std::size_t{2049}}) {
    const bool is_target = std::find(targets.begin(), targets.end(), k) != targets.end();
    const double expected =
        3.0 * std::exp(static_cast<double>(bias[k])) / sum - (is_target ? 1.0 : 0.0);
    CHECK(static_cast<double>(gradient[k]) == Approx(expected).epsilon(1e-4).margin(1e-7));
  }
}

TEST_CASE("label smoothing and class weights give PyTorch's losses and gradients") {
  const TinyModel tiny("bert");
  const auto device = training_device(2);
  const auto golden = recorded();
  const std::vector<float> bias = golden["bias"], weights = golden["weights"];
  const std::vector<std::size_t> targets = golden["targets"];
  std::vector<Example> batch = examples(tiny, targets.size());
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i].label = targets[i];
  for (const auto& one : golden["cases"]) {
    INFO(one["smoothing"] << " " << one["weighted"]);
    LossOptions loss;
    loss.label_smoothing = one["smoothing"];
    if (one["weighted"]) loss.class_weights = weights;
    const auto trainer = classifier(tiny, *device, bias.size(), loss, 3);
    set_logits(*trainer, bias);
    const BatchSums sums = trainer->network().gradients(batch);
    CHECK(sums.loss / sums.divisor == Approx(one["loss"].get<double>()).epsilon(1e-5));
    const std::vector<double> gradient = one["gradient"];
    for (std::size_t i = 0; i < bias.size(); ++i)
      CHECK(static_cast<double>(bias_gradient(*trainer)[i]) / sums.divisor ==
            Approx(gradient[i]).epsilon(1e-5).margin(1e-7));
  }
}

TEST_CASE("a regression has PyTorch's loss and gradient") {
  const TinyModel tiny("bert");
  const auto device = training_device(2);
  const auto golden = recorded()["squares"];
  const std::vector<float> values = golden["values"];
  std::vector<Example> batch = examples(tiny, values.size());
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i].label = 0, batch[i].value = values[i];
  LossOptions loss;
  loss.kind = LossKind::kSquares;
  const auto trainer = classifier(tiny, *device, 1, loss, 2);
  set_logits(*trainer, {golden["bias"].get<float>()});
  const BatchSums sums = trainer->network().gradients(batch);
  CHECK(sums.loss / sums.divisor == Approx(golden["loss"].get<double>()).epsilon(1e-5));
  CHECK(static_cast<double>(bias_gradient(*trainer)[0]) / sums.divisor ==
        Approx(golden["gradient"][0].get<double>()).epsilon(1e-5));
}

// Central differences of the loss in single precision: the tolerance is their own error.
TEST_CASE("the gradients of the losses agree with finite differences") {
  for (const bool is_regression : {false, true}) {
    const TinyModel tiny("bert");
    const auto device = training_device(1);
    LossOptions loss;
    if (is_regression) {
      loss.kind = LossKind::kSquares;
    } else {
      loss.label_smoothing = 0.2f;
      loss.class_weights = {0.5f, 3.0f, 1.25f};
    }
    const auto trainer = classifier(tiny, *device, is_regression ? 1 : 3, loss);
    std::vector<Example> batch = tiny.batch();
    for (std::size_t i = 0; i < batch.size(); ++i) {
      batch[i].label = is_regression ? 0 : 2 - i;
      batch[i].value = 0.5f + static_cast<float>(i);
    }
    trainer->network().gradients(batch);
    Parameter* query = trainer->parameters().find(0, kV);
    const std::vector<float> gradient(query->gradient_values(),
                                      query->gradient_values() + query->floats);
    double norm = 0.0, along = 0.0;
    for (const float g : gradient) norm += static_cast<double>(g) * static_cast<double>(g);
    REQUIRE(norm > 0.0);
    const auto moved = [&](double step) {
      for (std::size_t i = 0; i < gradient.size(); ++i)
        query->values()[i] += static_cast<float>(step * static_cast<double>(gradient[i]));
      return trainer->network().loss(batch).loss;
    };
    const double step = 1e-2 / std::sqrt(norm);
    const double above = moved(step), below = moved(-2 * step);
    along = (above - below) / (2 * step);
    CHECK(along == Approx(norm).epsilon(1e-2));
  }
}

TEST_CASE("the losses have the same bits for threads and micro-batches") {
  const TinyModel tiny("bert");
  LossOptions loss;
  loss.label_smoothing = 0.1f;
  loss.class_weights = {0.5f, 3.0f, 1.25f};
  std::string sha256;
  for (const auto& [threads, micro_batch] :
       {std::pair{1, std::size_t{0}}, std::pair{2, std::size_t{1}}, std::pair{4, std::size_t{3}}}) {
    const auto device = training_device(threads);
    const auto trainer = classifier(tiny, *device, 3, loss, micro_batch);
    std::vector<Example> batch = examples(tiny, 7);
    for (std::size_t i = 0; i < batch.size(); ++i) batch[i].label = i % 3;
    for (int step = 0; step < 10; ++step) REQUIRE(trainer->step(batch, 1e-3)->applied);
    if (sha256.empty()) sha256 = trainer->parameters().sha256();
    CHECK(trainer->parameters().sha256() == sha256);
  }
}

TEST_CASE("label smoothing of a language model is a mixture with all tokens") {
  const TinyModel tiny("llama");
  const auto device = training_device(2);
  const auto batch = tiny.batch();
  double by_logits = 0.0;
  const double smoothing = 0.25;
  {
    const auto network = tiny.network(*device);
    const std::vector<float> logits = network->logits(batch);
    const std::size_t vocabulary = tiny.config.vocabulary;
    std::size_t row = 0;
    for (const Example& example : batch)
      for (const TokenId target : example.targets) {
        if (target == kNoTarget) continue;
        const float* x = logits.data() + row++ * vocabulary;
        double sum = 0.0, all = 0.0;
        for (std::size_t i = 0; i < vocabulary; ++i) sum += std::exp(static_cast<double>(x[i]));
        for (std::size_t i = 0; i < vocabulary; ++i)
          all += std::log(sum) - static_cast<double>(x[i]);
        by_logits += (1 - smoothing) * (std::log(sum) - static_cast<double>(x[target])) +
                     smoothing / static_cast<double>(vocabulary) * all;
      }
  }
  NetworkOptions options;
  options.loss.label_smoothing = static_cast<float>(smoothing);
  const auto network = tiny.network(*device, options);
  CHECK(network->loss(batch).loss == Approx(by_logits).epsilon(1e-5));
}

TEST_CASE("a loss that does not fit the model is refused") {
  const TinyModel bert("bert"), llama("llama");
  const auto device = training_device(1);
  const auto refusal = [&](const TinyModel& tiny, std::size_t labels, const LossOptions& loss) {
    TrainerOptions options;
    options.labels = labels;
    options.network.loss = loss;
    return Trainer::create(*tiny.source, tiny.config, *device, options).message();
  };
  LossOptions loss;
  loss.class_weights = {1.0f, 2.0f};
  CHECK_THAT(refusal(bert, 3, loss), Catch::Contains("2 class weights for 3 classes"));
  loss.class_weights = {1.0f, 0.0f, 1.0f};
  CHECK_THAT(refusal(bert, 3, loss), Catch::Contains("is not in (0, 1e6]"));
  loss = {};
  loss.label_smoothing = 1.0f;
  CHECK_THAT(refusal(bert, 3, loss), Catch::Contains("not in [0, 1)"));
  loss = {};
  loss.kind = LossKind::kSquares;
  CHECK_THAT(refusal(bert, 3, loss), Catch::Contains("one output"));
  CHECK_THAT(refusal(llama, 0, loss), Catch::Contains("one output"));
}
