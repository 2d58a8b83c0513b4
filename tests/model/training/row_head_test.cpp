#include <cmath>
#include <cstring>
#include <string>

#include <catch2/catch.hpp>

#include <troupe/model/local/evaluate.h>
#include <troupe/model/training/hf_tensors.h>
#include <troupe/model/training/model_folder.h>
#include <troupe/model/training/trainer.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/tests/model/training/scratch_folder.h>
#include <troupe/tests/model/training/tiny_model.h>

// The heads that read every row: labels of tokens, and masked tokens.
// tests/oracles/make_head_goldens.py records what transformers computes.

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

struct HeadGolden {
  explicit HeadGolden(const std::string& name)
      : tiny("../heads/" + name), head(name == "mask" ? EncoderHead::kMask : EncoderHead::kToken) {}

  // Returns the recorded texts without their padding.
  std::vector<Example> batch() const {
    const auto ids = read_tensor<std::int64_t>(tiny.expected, "input_ids");
    const auto mask = read_tensor<std::int64_t>(tiny.expected, "attention_mask");
    const auto labels = read_tensor<std::int64_t>(tiny.expected, "labels");
    const std::size_t width = ids.size() / 3;
    std::vector<Example> batch(3);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (mask[i] == 0) continue;
      Example& example = batch[i / width];
      example.ids.push_back(static_cast<TokenId>(ids[i]));
      example.targets.push_back(labels[i] == -100 ? kNoTarget : static_cast<TokenId>(labels[i]));
    }
    return batch;
  }

  std::unique_ptr<Trainer> trainer(Device& device, std::size_t micro_batch = 0) const {
    TrainerOptions options;
    options.head = head;
    options.network.micro_batch = micro_batch;
    return trainer_of(tiny, device, options);
  }

  TinyModel tiny;
  const EncoderHead head;
};

double error_of(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference) / std::max(1e-30, std::sqrt(norm));
}

// Makes texts of 3 to 500 tokens, most of whose positions have a target below `outputs`.
std::vector<Example> long_batch(const ModelConfig& config, std::size_t outputs) {
  std::vector<Example> batch;
  std::uint32_t state = 99;
  const auto next = [&](std::size_t bound) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % bound;
  };
  for (const std::size_t wanted : {3, 500, 17, 256, 31, 4, 90, 257}) {
    Example example;
    for (std::size_t i = 0; i < std::min<std::size_t>(wanted, config.context_max); ++i) {
      example.ids.push_back(static_cast<TokenId>(next(config.vocabulary)));
      example.targets.push_back(next(4) == 0 ? kNoTarget : static_cast<TokenId>(next(outputs)));
    }
    batch.push_back(std::move(example));
  }
  batch[5].targets.assign(4, kNoTarget);  // a text from which nothing is learned
  return batch;
}

}  // namespace

TEST_CASE("heads of every row have the losses, logits and gradients of transformers") {
  for (const std::string name : {"token", "mask"}) {
    INFO(name);
    const HeadGolden golden(name);
    const auto device = training_device(2);
    for (const std::size_t micro_batch : {0, 1}) {
      const auto trainer = golden.trainer(*device, micro_batch);
      Network& network = trainer->network();
      const auto batch = golden.batch();
      REQUIRE(network.check(batch).is_ok());
      const BatchSums sums = network.gradients(batch);
      const auto targets = static_cast<double>(sums.targets);
      CHECK(sums.loss / targets ==
            Approx(read_tensor<float>(golden.tiny.expected, "loss")[0]).epsilon(1e-5));
      std::size_t compared = 0;
      for (const HfTensor& tensor : hf_tensors(network.config(), network.parameters())) {
        INFO(tensor.name);
        auto gradient =
            hf_values(tensor, [](const Parameter& one) { return one.gradient_values(); });
        for (float& value : gradient) value /= static_cast<float>(targets);
        const auto expected = read_tensor<float>(golden.tiny.expected, "grad." + tensor.name);
        ++compared;
        // A bias of keys does not affect the softmax, so its gradient is only rounding.
        if (tensor.name.find("key.bias") == tensor.name.npos)
          CHECK(error_of(gradient, expected) < 1e-4);
      }
      std::size_t recorded = 0;
      for (const SafetensorsTensor& tensor : golden.tiny.expected.tensors())
        recorded += tensor.name.starts_with("grad.") ? 1 : 0;
      CHECK(compared == recorded);
    }
  }
}

TEST_CASE("a classifier of tokens runs with the logits of transformers and of the trainer") {
  const HeadGolden golden("token");
  REQUIRE(golden.tiny.config.head == EncoderHead::kToken);
  REQUIRE(golden.tiny.config.labels == 5);
  const auto device = training_device(2);
  auto stage = Stage::load(*golden.tiny.source, golden.tiny.config, {0, golden.tiny.config.layers},
                           *device, {});
  REQUIRE(stage.is_ok());
  const auto trainer = golden.trainer(*device);
  const auto all = read_tensor<float>(golden.tiny.expected, "logits");
  const std::size_t width = all.size() / 3;
  std::size_t text = 0;
  for (Example& example : golden.batch()) {
    const auto logits = sequence_logits(**stage, example.ids, {}, example.ids.size());
    REQUIRE(logits.is_ok());
    REQUIRE(logits->size() == example.ids.size() * 5);
    for (std::size_t i = 0; i < logits->size(); ++i)
      CHECK((*logits)[i] == Approx(all[text * width + i]).epsilon(1e-4).margin(1e-5));
    example.targets.assign(example.ids.size(), 0);
    const auto own = trainer->network().logits({&example, 1});
    CHECK(std::memcmp(own.data(), logits->data(), own.size() * sizeof(float)) == 0);
    ++text;
  }
}

TEST_CASE("heads of every row have the same bits for every grouping and thread count") {
  for (const std::string name : {"token", "mask"}) {
    const HeadGolden golden(name);
    std::string expected;
    for (const auto& [threads, micro_batch] :
         {std::pair{1, std::size_t{8}}, std::pair{2, std::size_t{4}}, std::pair{3, std::size_t{2}},
          std::pair{4, std::size_t{1}}, std::pair{1, std::size_t{1}},
          std::pair{4, std::size_t{3}}}) {
      INFO(name << ", " << threads << " threads, micro-batches of " << micro_batch);
      const auto device = training_device(threads);
      const auto trainer = golden.trainer(*device, micro_batch);
      const auto batch = long_batch(trainer->config(), trainer->config().outputs());
      for (int step = 0; step < 4; ++step) REQUIRE(trainer->step(batch, 1e-3)->applied);
      if (expected.empty()) expected = trainer->parameters().sha256();
      CHECK(trainer->parameters().sha256() == expected);
    }
  }
}

TEST_CASE("a model gets a head of every row that it did not have") {
  const TinyModel bert("bert");
  const auto device = training_device(2);
  for (const EncoderHead head : {EncoderHead::kToken, EncoderHead::kMask}) {
    TrainerOptions options;
    options.head = head;
    options.labels = head == EncoderHead::kToken ? 3 : 0;
    const auto trainer = trainer_of(bert, *device, options);
    const auto batch = long_batch(trainer->config(), trainer->config().outputs());
    double first = 0, last = 0;
    for (int step = 0; step < 30; ++step) {
      const auto report = trainer->step(batch, 3e-3);
      REQUIRE(report.is_ok());
      REQUIRE(report->applied);
      if (step == 0) first = report->loss;
      last = report->loss;
    }
    CHECK(last < 0.9 * first);
    // The folder has the head, and is read as the same kind of model.
    const ScratchFolder scratch;
    const auto texts = folder_texts(
        bert.source->header(), trainer->config(),
        options.labels == 0 ? std::vector<std::string>() : std::vector<std::string>{"a", "b", "c"});
    INFO(texts.message());
    REQUIRE(texts.is_ok());
    REQUIRE(write_model_folder(scratch.path(), *texts, trainer->config(), trainer->parameters())
                .is_ok());
    const auto again = open_model(scratch.path().string());
    REQUIRE(again.is_ok());
    const auto config = config_from_gguf((*again)->header());
    REQUIRE(config.is_ok());
    CHECK(config->labels == options.labels);
    CHECK(config->pooler == (head == EncoderHead::kMask));
    TrainerOptions same;
    same.head = head;
    const auto reopened = Trainer::create(**again, *config, *device, same);
    INFO(reopened.message());
    REQUIRE(reopened.is_ok());
    CHECK((*reopened)->evaluate(batch)->loss == trainer->evaluate(batch)->loss);
  }
}

TEST_CASE("a head that a model cannot have is refused") {
  const TinyModel bert("bert"), llama("llama");
  const HeadGolden token("token");
  const auto device = training_device(1);
  const auto refusal = [&](const TinyModel& tiny, EncoderHead head, std::size_t labels,
                           std::size_t rank) {
    TrainerOptions options;
    options.head = head;
    options.labels = labels;
    options.lora.rank = rank;
    const auto made = Trainer::create(*tiny.source, tiny.config, *device, options);
    REQUIRE_FALSE(made.is_ok());
    return made.message();
  };
  CHECK_THAT(refusal(llama, EncoderHead::kMask, 0, 0), Contains("is a decoder"));
  CHECK_THAT(refusal(llama, EncoderHead::kToken, 3, 0), Contains("is a decoder"));
  CHECK_THAT(refusal(bert, EncoderHead::kMask, 3, 0), Contains("masked tokens have no labels"));
  CHECK_THAT(refusal(bert, EncoderHead::kMask, 0, 4), Contains("no head for masked tokens"));
  CHECK_THAT(refusal(token.tiny, EncoderHead::kSequence, 3, 0), Contains("has no pooler"));
  const auto trainer = token.trainer(*device);
  std::vector<Example> batch = token.batch();
  batch[0].targets[3] = 5;
  auto report = trainer->step(batch, 1e-3);
  REQUIRE_FALSE(report.is_ok());
  CHECK_THAT(report.message(), Contains("has the target 5, but the model has 5 labels"));
  batch[0].targets.clear();
  report = trainer->step(batch, 1e-3);
  REQUIRE_FALSE(report.is_ok());
  CHECK_THAT(report.message(), Contains("has 0 targets for 23 tokens"));
}
