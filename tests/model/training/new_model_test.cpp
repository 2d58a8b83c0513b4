#include <cmath>
#include <cstring>

#include <catch2/catch.hpp>

#include <troupe/model/training/new_model.h>
#include <troupe/model/training/trainer.h>
#include <troupe/tests/model/training/scratch_folder.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

// A folder with a tokenizer of letters, in which "<end>", 2, ends texts.
struct Letters {
  Letters() {
    std::string vocabulary = R"("<pad>": 0, "<start>": 1, "<end>": 2)";
    for (int i = 0; i < 26; ++i)
      vocabulary +=
          ", \"" + std::string(1, static_cast<char>('a' + i)) + "\": " + std::to_string(i + 3);
    scratch.write("tokenizer.json",
                  R"({"added_tokens": [{"id": 2, "content": "<end>", "special": true}],
                      "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
                      "decoder": {"type": "ByteLevel"},
                      "model": {"type": "BPE", "merges": [], "vocab": {)" +
                      vocabulary + "}}}");
    scratch.write("config.json", R"({"eos_token_id": 2})");
  }
  ScratchFolder scratch;
};

NewModelOptions small_model(const std::string& family, const Letters& letters) {
  NewModelOptions options;
  ModelConfig& config = options.config;
  config.family = family;
  config.causal = family != "bert";
  config.layers = 2;
  config.channels = 32;
  config.ffn_channels = 48;
  config.heads = 4;
  config.kv_heads = family == "gpt2" || family == "bert" ? 4 : 2;
  config.head_dim = 8;
  config.context_max = 64;
  config.tied_embedding = family != "qwen3";
  config.token_types = family == "bert" ? 2 : 0;
  config.window = family == "mistral" ? 3 : 0;
  options.tokenizer = letters.scratch.path();
  options.seed = 5;
  return options;
}

std::unique_ptr<TensorSource> made(const NewModelOptions& options) {
  auto source = new_model(options);
  INFO(source.message());
  REQUIRE(source.is_ok());
  return std::move(*source);
}

std::vector<float> values_of(const TensorSource& source, const std::string& name) {
  const auto bytes = source.bytes(name);
  REQUIRE(bytes.is_ok());
  std::vector<float> values(bytes->size() / sizeof(float));
  std::memcpy(values.data(), bytes->data(), bytes->size());
  source.drop(name);
  return values;
}

}  // namespace

TEST_CASE("a new model of each family can be trained, and its weights are those of the seed") {
  const Letters letters;
  for (const char* family : {"llama", "mistral", "qwen2", "qwen3", "gpt2", "bert"}) {
    INFO(family);
    std::vector<std::string> hashes;
    for (const int threads : {1, 3}) {
      const auto source = made(small_model(family, letters));
      auto config = config_from_gguf(source->header());
      REQUIRE(config.is_ok());
      CHECK(config->family == family);
      CHECK(config->vocabulary == 29);
      CHECK(config->window == (std::string(family) == "mistral" ? 3 : 0));
      CHECK(config->tied_embedding == (std::string(family) != "qwen3"));
      auto device = training_device(threads);
      TrainerOptions options;
      options.labels = config->causal ? 0 : 2;
      auto trainer = Trainer::create(*source, *config, *device, options);
      INFO(trainer.message());
      REQUIRE(trainer.is_ok());
      hashes.push_back((*trainer)->parameters().sha256());
      std::vector<Example> batch = {next_token_example({3, 4, 5, 6, 2})};
      if (!config->causal) batch[0].targets.clear();
      double first = 0.0, last = 0.0;
      for (int step = 0; step < 10; ++step) {
        const auto report = (*trainer)->step(batch, 1e-2);
        REQUIRE(report.is_ok());
        last = report->loss;
        if (step == 0) first = report->loss;
      }
      CHECK(first == Approx(std::log(config->causal ? 29.0 : 2.0)).margin(0.2));
      CHECK(last < 0.7 * first);
      hashes.push_back((*trainer)->parameters().sha256());
    }
    CHECK(hashes[0] == hashes[2]);
    CHECK(hashes[1] == hashes[3]);
    CHECK(hashes[0] != hashes[1]);
  }
}

TEST_CASE("drawn weights have the deviation, depend on the tensor, and stay what they were") {
  const Letters letters;
  NewModelOptions options = small_model("llama", letters);
  options.config.channels = 256;
  options.config.head_dim = 64;
  options.deviation = 0.5;
  const auto source = made(options);
  const auto deviation_of = [](const std::vector<float>& values) {
    double sum = 0.0, squares = 0.0;
    for (const float value : values) {
      sum += static_cast<double>(value);
      squares += static_cast<double>(value) * static_cast<double>(value);
      CHECK(std::abs(value) < 0.5f * 3.47f);
    }
    const auto count = static_cast<double>(values.size());
    CHECK(std::abs(sum / count) < 4 * 0.5 / std::sqrt(count));
    return std::sqrt(squares / count);
  };
  const std::vector<float> q = values_of(*source, "blk.0.attn_q.weight");
  // The deviation of n draws differs from the true one by about 1 / sqrt(2 n), here 0.3 %.
  CHECK(deviation_of(q) == Approx(0.5).epsilon(0.015));
  CHECK(deviation_of(values_of(*source, "blk.1.attn_output.weight")) ==
        Approx(0.25).epsilon(0.015));
  CHECK(deviation_of(values_of(*source, "blk.1.ffn_down.weight")) == Approx(0.25).epsilon(0.04));
  CHECK(q != values_of(*source, "blk.1.attn_q.weight"));
  CHECK(q == values_of(*source, "blk.0.attn_q.weight"));
  for (const float value : values_of(*source, "blk.0.attn_norm.weight")) CHECK(value == 1.0f);
  // The first values of a seed must never change. These are from Random123's Philox with the
  // counter (index, FNV-1a of the name) in Python.
  CHECK(q[0] == -0x1.56f6600000000p-2f);
  CHECK(q[1] == 0x1.24b0b20000000p+0f);
  options.seed = 6;
  CHECK(q != values_of(*made(options), "blk.0.attn_q.weight"));
}

TEST_CASE("a tokenizer that does not fit a new model is named") {
  const Letters letters;
  NewModelOptions options = small_model("llama", letters);
  options.config.vocabulary = 20;
  auto refused = new_model(options);
  REQUIRE_FALSE(refused.is_ok());
  CHECK_THAT(refused.message(), Contains("29 tokens, but the vocabulary is 20"));
  options.config.vocabulary = 32;
  CHECK(made(options)->header().tensor("token_embd.weight")->shape.front() == 32);
  const ScratchFolder empty;
  options.tokenizer = empty.path();
  refused = new_model(options);
  REQUIRE_FALSE(refused.is_ok());
  CHECK_THAT(refused.message(), Contains("has no tokenizer.json"));
}
