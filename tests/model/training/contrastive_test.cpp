#include <cmath>
#include <cstring>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/local/embedding.h>
#include <troupe/model/source/adapted_model.h>
#include <troupe/model/training/adapter_folder.h>
#include <troupe/model/training/contrastive.h>
#include <troupe/model/training/memory_plan.h>
#include <troupe/model/training/trainer.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/tests/model/training/scratch_folder.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

TrainerOptions embedding_options(std::size_t negatives, std::size_t micro_batch = 0) {
  TrainerOptions options;
  options.network.loss.kind = LossKind::kPooled;
  options.network.micro_batch = micro_batch;
  options.contrastive = {0.1, negatives};
  return options;
}

// Makes texts of 3 to 40 tokens.
std::vector<Example> texts(std::size_t count) {
  std::vector<Example> out(count);
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t at = 0; at < 3 + i * i * 7 % 38; ++at)
      out[i].ids.push_back(static_cast<TokenId>((i * 31 + at * at * 3 + 5) % 120));
  return out;
}

}  // namespace

TEST_CASE("the loss of embeddings and its gradient are PyTorch's") {
  const auto golden =
      nlohmann::json::parse(std::ifstream(TROUPE_TEST_DATA "/golden/contrastive.json"));
  const std::size_t channels = golden["channels"];
  for (const int threads : {1, 3}) {
    const auto device = training_device(threads);
    for (const auto& one : golden["cases"]) {
      INFO(one["negatives"] << " " << one["temperature"]);
      std::vector<float> pooled;
      for (const auto& row : one["pooled"])
        for (const float value : row) pooled.push_back(value);
      const ContrastiveOptions options{one["temperature"], one["negatives"]};
      const ContrastiveLoss loss = contrastive_loss(pooled, channels, options, device->pool());
      const auto anchors = static_cast<double>(pooled.size() / channels / options.group());
      CHECK(loss.loss / anchors == Approx(one["loss"].get<double>()).epsilon(1e-5));
      CHECK(loss.hits == one["hits"]);
      double error = 0.0, norm = 0.0;
      std::size_t at = 0;
      for (const auto& row : one["gradient"])
        for (const double expected : row) {
          const double got = static_cast<double>(loss.gradients[at++]) / anchors;
          error += (got - expected) * (got - expected);
          norm += expected * expected;
        }
      REQUIRE(at == loss.gradients.size());
      CHECK(std::sqrt(error) < 1e-5 * std::sqrt(norm));
    }
  }
}

TEST_CASE("embeddings have the gradients that finite differences have") {
  const TinyModel tiny("bert");
  const auto device = training_device(2);
  const auto trainer = trainer_of(tiny, *device, embedding_options(1));
  const std::vector<Example> batch = texts(12);
  Network& network = trainer->network();
  const auto loss_now = [&] {
    return contrastive_loss(network.pooled(batch), tiny.config.channels, {0.1, 1}, device->pool());
  };
  network.pooled_gradients(batch, loss_now().gradients);
  for (const auto& [layer, slot] : {std::pair<std::size_t, std::size_t>{0, kQ},
                                    {1, kDown},
                                    {1, kFfnNorm},
                                    {kNoLayer, kTokenEmbedding},
                                    {kNoLayer, kEmbeddingNormBias}}) {
    Parameter& parameter = *trainer->parameters().trained(layer, slot);
    INFO(parameter.spec.name);
    // Along the gradient itself, the loss changes by its squared norm.
    const std::vector<float> gradient(parameter.gradient_values(),
                                      parameter.gradient_values() + parameter.floats);
    const std::vector<float> before(parameter.values(), parameter.values() + parameter.floats);
    double norm = 0.0;
    for (const float value : gradient)
      norm += static_cast<double>(value) * static_cast<double>(value);
    REQUIRE(norm > 0.0);
    const double step = 1e-3 / std::sqrt(norm);
    double losses[2];
    for (const int side : {0, 1}) {
      for (std::size_t i = 0; i < parameter.floats; ++i)
        parameter.values()[i] =
            before[i] + static_cast<float>(side == 0 ? -step : step) * gradient[i];
      losses[side] = loss_now().loss;
    }
    std::copy(before.begin(), before.end(), parameter.values());
    // The passes are in f32, so a change of the loss of 1e-3 has about three digits.
    CHECK((losses[1] - losses[0]) / (2 * step) == Approx(norm).epsilon(0.02));
  }
}

TEST_CASE("the weights of embeddings do not depend on micro-batches or threads") {
  const TinyModel tiny("bert");
  std::vector<std::string> hashes;
  const std::vector<Example> batch = texts(24);  // 8 anchors with a positive and a negative
  for (const std::size_t micro_batch : {24u, 12u, 6u, 3u, 1u, 5u}) {
    const auto device = training_device(micro_batch == 6 ? 3 : 1);
    TrainerOptions options = embedding_options(1, micro_batch);
    options.network.checkpointing = micro_batch == 12;
    const auto trainer = trainer_of(tiny, *device, options);
    CHECK(trainer->group() == 3);
    double first = 0.0, last = 0.0;
    for (int step = 0; step < 12; ++step) {
      const auto report = trainer->step(batch, 3e-3);
      REQUIRE(report.is_ok());
      CHECK(report->applied);
      CHECK(report->targets == 8);
      if (step == 0) first = report->loss;
      last = report->loss;
    }
    CHECK(last < first / 3);
    const auto evaluated = trainer->evaluate(batch);
    REQUIRE(evaluated.is_ok());
    CHECK(evaluated->hits == 8);
    hashes.push_back(trainer->parameters().sha256());
  }
  for (const std::string& hash : hashes) CHECK(hash == hashes[0]);
}

// PEFT's arithmetic adds in another order: the losses drift apart by roundings, slowly.
TEST_CASE("an adapter of embeddings that PEFT wrote gives PEFT's embeddings and losses") {
  const std::string folder = TROUPE_TEST_DATA "/golden/lora/embed";
  const auto golden = nlohmann::json::parse(std::ifstream(folder + "/expected.json"));
  const TinyModel bert("bert");
  const auto device = training_device(2);
  std::vector<Example> batch;
  for (const auto& ids : golden["texts"])
    batch.emplace_back().ids = ids.get<std::vector<TokenId>>();
  // This is how `troupe embed --adapter` computes.
  auto base = open_model(bert.folder);
  REQUIRE(base.is_ok());
  const auto adapted = add_adapter(std::move(*base), folder, "the pair");
  INFO(adapted.message());
  REQUIRE(adapted.is_ok());
  ModelConfig config = *config_from_gguf((*adapted)->header());
  config.labels = 0;
  auto stage = Stage::load(**adapted, config, {0, config.layers}, *device, {});
  REQUIRE(stage.is_ok());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto embedding = embed_text(**stage, batch[i].ids, {});
    REQUIRE(embedding.is_ok());
    const std::vector<double> expected = golden["embeddings"][i];
    REQUIRE(embedding->size() == expected.size());
    for (std::size_t c = 0; c < expected.size(); ++c)
      CHECK(static_cast<double>((*embedding)[c]) == Approx(expected[c]).margin(1e-5));
  }
  TrainerOptions options = embedding_options(1, 2);
  options.contrastive.temperature = golden["temperature"];
  options.optimizer.decays_vectors = true;
  options.optimizer.weight_decay = 0.01;
  const auto trainer = trainer_of(bert, *device, options);
  freeze_for_adapters(trainer->parameters());
  const Status read = read_adapter_folder(folder, trainer->config(), trainer->parameters());
  INFO(read.message());
  REQUIRE(read.is_ok());
  for (const double loss : golden["loss"]) {
    const auto report = trainer->step(batch, golden["rate"]);
    REQUIRE(report.is_ok());
    CHECK(report->loss == Approx(loss).epsilon(1e-3));
  }
  // The written names are PEFT's.
  const ScratchFolder scratch;
  REQUIRE(write_adapter_folder(scratch.path(), {"bert", {}, {}}, trainer->config(),
                               trainer->parameters())
              .is_ok());
  const auto written = Safetensors::open_file(scratch.path() / "adapter_model.safetensors");
  const auto original = Safetensors::open_file(folder + "/adapter_model.safetensors");
  REQUIRE((written.is_ok() && original.is_ok()));
  CHECK(written->tensors().size() == original->tensors().size());
  for (const SafetensorsTensor& tensor : original->tensors())
    CHECK(written->find(tensor.name) != nullptr);
}

TEST_CASE("adapters of embeddings have the same bits for every grouping and thread count") {
  const TinyModel bert("bert");
  const std::vector<Example> batch = texts(24);
  std::string expected;
  for (const auto& [threads, micro_batch] :
       {std::pair{1, std::size_t{24}}, std::pair{2, std::size_t{12}}, std::pair{3, std::size_t{6}},
        std::pair{4, std::size_t{3}}, std::pair{1, std::size_t{1}}}) {
    const auto device = training_device(threads);
    TrainerOptions options = embedding_options(1, micro_batch);
    options.lora.rank = 4;
    const auto trainer = trainer_of(bert, *device, options);
    double first = 0, last = 0;
    for (int step = 0; step < 20; ++step) {
      const auto report = trainer->step(batch, 1e-2);
      REQUIRE(report.is_ok());
      REQUIRE(report->applied);
      if (step == 0) first = report->loss;
      last = report->loss;
    }
    CHECK(last < first / 2);
    if (expected.empty()) expected = trainer->parameters().sha256();
    CHECK(trainer->parameters().sha256() == expected);
  }
}

TEST_CASE("the predicted memory has what a global batch of embeddings needs") {
  const TinyModel bert("bert");
  MemoryQuestion question;
  question.options = embedding_options(1, 3);
  question.config = trained_config(bert.config, question.options);
  question.batch_size = 300;
  const std::vector<Example> batch(300, texts(12)[11]);
  const auto predicted = plan_memory(question, batch);
  question.options.network.loss.kind = LossKind::kCrossEntropy;
  const auto without = plan_memory(question, batch);
  REQUIRE((predicted.is_ok() && without.is_ok()));
  // 100 anchors with 200 candidates, and 300 means with gradients and units of 64 channels.
  const std::uint64_t expected = 100 * 200 * 8 + 300 * 8 + 300 * 64 * (4 + 4 + 8);
  CHECK(predicted->activations - without->activations == expected);
}

TEST_CASE("what embeddings cannot be trained on is said") {
  const TinyModel bert("bert"), llama("llama");
  const auto device = training_device(1);
  auto refused = Trainer::create(*llama.source, llama.config, *device, embedding_options(0));
  REQUIRE_FALSE(refused.is_ok());
  CHECK_THAT(refused.message(), Contains("trained on an encoder"));
  TrainerOptions options = embedding_options(0);
  options.lora.rank = 4;
  options.lora.dropout = 0.1;
  refused = Trainer::create(*bert.source, bert.config, *device, options);
  REQUIRE_FALSE(refused.is_ok());
  CHECK_THAT(refused.message(), Contains("dropout would make different"));
  const auto trainer = trainer_of(bert, *device, embedding_options(1));
  const auto report = trainer->step(texts(4), 1e-3);
  REQUIRE_FALSE(report.is_ok());
  CHECK_THAT(report.message(), Contains("4 examples are not groups of 3"));
}
