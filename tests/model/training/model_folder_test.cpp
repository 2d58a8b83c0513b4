#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/local/evaluate.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_json.h>
#include <troupe/model/training/gguf_tokenizer_text.h>
#include <troupe/model/training/hf_config_text.h>
#include <troupe/model/training/model_folder.h>
#include <troupe/model/training/trainer.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/tests/model/training/scratch_folder.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

namespace {

// Returns the logits of the folder's model for `ids`, from an F32 stage.
std::vector<float> folder_logits(const std::filesystem::path& folder, Device& device,
                                 const std::vector<TokenId>& ids) {
  const auto source = open_model(folder.string());
  INFO(source.message());
  REQUIRE(source.is_ok());
  const auto config = config_from_gguf((*source)->header());
  REQUIRE(config.is_ok());
  const auto stage = Stage::load(**source, *config, {0, config->layers}, device, {});
  INFO(stage.message());
  REQUIRE(stage.is_ok());
  auto logits = sequence_logits(**stage, ids, {}, 64);
  REQUIRE(logits.is_ok());
  return std::move(*logits);
}

std::vector<float> network_logits(Network& network, std::vector<TokenId> ids) {
  Example example;
  example.targets.assign(ids.size(), 0);
  example.ids = std::move(ids);
  return network.logits({&example, 1});
}

}  // namespace

TEST_CASE("a saved folder computes what the trainer computed, bit for bit") {
  const auto device = training_device(2);
  for (const std::string family : {"llama", "mistral", "qwen2", "qwen3", "gpt2", "bert"}) {
    INFO(family);
    const TinyModel tiny(family);
    const ScratchFolder scratch;
    auto trainer = Trainer::create(*tiny.source, tiny.config, *device, {});
    REQUIRE(trainer.is_ok());
    const auto batch = tiny.batch();
    REQUIRE((*trainer)->step(batch, 1e-2).is_ok());
    const std::vector<std::string> labels =
        tiny.config.causal ? std::vector<std::string>{} : std::vector<std::string>{"no", "yes"};
    const auto texts = folder_texts(tiny.source->header(), tiny.config, labels);
    REQUIRE(texts.is_ok());
    const auto sha256 =
        write_model_folder(scratch.path() / "out", *texts, tiny.config, (*trainer)->parameters());
    REQUIRE(sha256.is_ok());
    const auto logits = folder_logits(scratch.path() / "out", *device, batch[0].ids);
    const auto expected = network_logits((*trainer)->network(), batch[0].ids);
    REQUIRE(logits.size() == expected.size());
    REQUIRE(std::memcmp(logits.data(), expected.data(), logits.size() * sizeof(float)) == 0);
    const auto source = open_model((scratch.path() / "out").string());
    CHECK(label_names((*source)->header()) == labels);
    // The same tensors, neither more nor fewer, as the folder that the model came from.
    const auto before = Safetensors::open_folder(tiny.folder);
    const auto after = Safetensors::open_folder(scratch.path() / "out");
    for (const SafetensorsTensor& tensor : before->tensors()) {
      INFO(tensor.name);
      const SafetensorsTensor* same = after->find(tensor.name);
      REQUIRE(same != nullptr);
      CHECK(same->shape == tensor.shape);
    }
    CHECK(before->tensors().size() == after->tensors().size());
  }
}

TEST_CASE("rows whose rotated pairs are neighbours are saved half a head apart") {
  const auto device = training_device(1);
  TinyModel tiny("llama");
  tiny.config.rope_interleaved = true;  // as a GGUF file of it would be
  const auto network = tiny.network(*device);
  const ScratchFolder scratch;
  const auto texts = folder_texts(tiny.source->header(), tiny.config, {});
  REQUIRE(texts.is_ok());
  REQUIRE(write_model_folder(scratch.path() / "out", *texts, tiny.config, network->parameters())
              .is_ok());
  const auto ids = tiny.batch()[0].ids;
  const auto logits = folder_logits(scratch.path() / "out", *device, ids);
  const auto expected = network_logits(*network, ids);
  // The channels of a head are added in another order, so the last bits differ.
  for (std::size_t i = 0; i < logits.size(); ++i)
    REQUIRE(logits[i] == Approx(expected[i]).margin(1e-5));
}

TEST_CASE("a GGUF file's tokenizer is written so that the folder's gives the same ids") {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: writing a GGUF file's tokenizer (TROUPE_TEST_MODEL is not set)");
    return;
  }
  const auto source = open_model(path);
  REQUIRE(source.is_ok());
  const auto texts = gguf_tokenizer_texts((*source)->header());
  REQUIRE(texts.is_ok());
  const auto made = tokenizer_from_json({.tokenizer_json = texts->tokenizer_json,
                                         .tokenizer_config_json = texts->tokenizer_config_json});
  INFO(made.message());
  REQUIRE(made.is_ok());
  const auto original = open_tokenizer((*source)->header(), 0);
  REQUIRE(original.is_ok());
  CHECK((*made)->bos() == (*original)->bos());
  CHECK((*made)->eos() == (*original)->eos());
  const auto cases =
      nlohmann::json::parse(std::ifstream(TROUPE_TEST_DATA "/golden/smollm2_tokens.json"));
  for (const auto& one : cases) {
    const auto text = one["text"].get<std::string>();
    const auto ids = (*made)->encode(text, {});
    REQUIRE(ids.is_ok());
    CHECK(*ids == *(*original)->encode(text, {}));
    CHECK(*ids == one["ids"].get<std::vector<TokenId>>());
  }
}
