#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/local/evaluate.h>
#include <troupe/model/source/hf_folder.h>
#include <troupe/model/tokenizer/open_tokenizer.h>
#include <troupe/model/training/gguf_export.h>
#include <troupe/model/training/gguf_tokenizer_keys.h>
#include <troupe/model/training/model_folder.h>
#include <troupe/model/training/trainer.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/tests/model/training/scratch_folder.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using nlohmann::json;

namespace {

std::unique_ptr<WholeModel> opened(const std::filesystem::path& path) {
  auto source = open_model(path.string());
  INFO(source.message());
  REQUIRE(source.is_ok());
  return std::move(*source);
}

std::vector<float> logits_of(const TensorSource& source, Device& device,
                             const std::vector<TokenId>& ids) {
  const auto config = config_from_gguf(source.header());
  INFO(config.message());
  REQUIRE(config.is_ok());
  const auto stage = Stage::load(source, *config, {0, config->layers}, device, {});
  INFO(stage.message());
  REQUIRE(stage.is_ok());
  auto logits = sequence_logits(**stage, ids, {}, 64);
  REQUIRE(logits.is_ok());
  return std::move(*logits);
}

// Writes the weights that a trainer loads from `source`.
void export_to(const std::filesystem::path& path, const TensorSource& source, Device& device,
               quant::Type type) {
  const auto config = config_from_gguf(source.header());
  REQUIRE(config.is_ok());
  const auto trainer = Trainer::create(source, *config, device, {});
  REQUIRE(trainer.is_ok());
  const auto metadata = export_metadata(source.header(), *config, type);
  INFO(metadata.message());
  REQUIRE(metadata.is_ok());
  const auto written =
      write_gguf(path, *metadata, (*trainer)->config(), (*trainer)->parameters(), type);
  INFO(written.message());
  REQUIRE(written.is_ok());
}

// Returns the header that hf_folder.h makes of a model's folder, after a change of its
// tokenizer.json.
template <class Change>
GgufHeader folder_of(const GgufHeader& original, const ModelConfig& config, Change change) {
  const auto texts = folder_texts(original, config, {});
  INFO(texts.message());
  REQUIRE(texts.is_ok());
  GgufHeader folder;
  for (const auto& [name, text] : texts->files) {
    std::string kept = text;
    if (name == "tokenizer.json") {
      json tokenizer = json::parse(text);
      change(tokenizer);
      kept = tokenizer.dump();
    }
    for (const FolderText& one : kFolderTexts)
      if (one.file == name) folder.metadata[std::string(one.key)] = kept;
  }
  return folder;
}

// Returns a step of tokenizer.json that puts a token after each text.
json puts_after(const std::string& token, TokenId id) {
  const json after = {{"SpecialToken", {{"id", token}, {"type_id", 0}}}};
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  return {{"type", "TemplateProcessing"},
          {"single", {text, after}},
          {"pair", {text, after, {{"Sequence", {{"id", "B"}, {"type_id", 1}}}}, after}},
          {"special_tokens", {{token, {{"id", token}, {"ids", {id}}, {"tokens", {token}}}}}}};
}

}  // namespace

TEST_CASE("an exported GGUF file computes what the folder computes") {
  const auto device = training_device(2);
  for (const std::string family : {"llama", "mistral", "qwen2", "qwen3", "gpt2"}) {
    INFO(family);
    const TinyModel tiny(family);
    const ScratchFolder scratch;
    const auto ids = tiny.batch()[0].ids;
    const auto expected = logits_of(*tiny.source, *device, ids);
    export_to(scratch.path() / "f32.gguf", *tiny.source, *device, quant::Type::kF32);
    const auto source = opened(scratch.path() / "f32.gguf");
    const auto logits = logits_of(*source, *device, ids);
    REQUIRE(logits.size() == expected.size());
    // In llama's family, the rows of q and k are reordered, so that the channels of a head are
    // added in another order, and the last bits differ.
    const bool is_turned = family == "llama" || family == "mistral";
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (!is_turned) REQUIRE(logits[i] == expected[i]);
      REQUIRE(logits[i] == Approx(expected[i]).margin(1e-5));
    }
    CHECK(source->header().metadata.lower_bound("troupe.") ==
          source->header().metadata.lower_bound("troupe/"));
    // A file that came from GGUF is written again with the same bits.
    export_to(scratch.path() / "again.gguf", *source, *device, quant::Type::kF32);
    CHECK(logits_of(*opened(scratch.path() / "again.gguf"), *device, ids) == logits);
  }
}

// A format of few bits moves every weight by up to half a step, which is an eighth of the largest
// weight in 4 bits, and 1/127 of it in 8. The logits of these models are between -8 and 8.
TEST_CASE("exported formats stay near the weights") {
  const auto device = training_device(2);
  const TinyModel tiny("llama");
  const auto ids = tiny.batch()[0].ids;
  const auto expected = logits_of(*tiny.source, *device, ids);
  for (const auto& [type, margin] : {std::pair{quant::Type::kF16, 0.01},
                                     {quant::Type::kQ8_0, 0.2},
                                     {quant::Type::kQ4_1, 2.0},
                                     {quant::Type::kQ4_0, 2.0}}) {
    INFO(quant::find(type)->name);
    const ScratchFolder scratch;
    export_to(scratch.path() / "x.gguf", *tiny.source, *device, type);
    const auto source = opened(scratch.path() / "x.gguf");
    CHECK(source->header().tensor("blk.0.attn_q.weight")->type == type);
    CHECK(source->header().tensor("blk.0.attn_norm.weight")->type == quant::Type::kF32);
    const auto logits = logits_of(*source, *device, ids);
    double largest = 0.0;
    for (std::size_t i = 0; i < logits.size(); ++i)
      largest = std::max(largest, std::abs(static_cast<double>(logits[i] - expected[i])));
    CHECK(largest < margin);
    CHECK(largest > 0.0);
  }
}

TEST_CASE("a folder's tokenizer becomes the keys of the GGUF file that it came from") {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: writing a folder's tokenizer as GGUF (TROUPE_TEST_MODEL is not set)");
    return;
  }
  const auto original = opened(path);
  const auto config = config_from_gguf(original->header());
  REQUIRE(config.is_ok());
  const GgufHeader folder = folder_of(original->header(), *config, [](json&) {});
  GgufMetadata keys;
  const Status added = add_gguf_tokenizer(folder, config->vocabulary, &keys);
  INFO(added.message());
  REQUIRE(added.is_ok());
  const GgufMetadata& before = original->header().metadata;
  for (const char* key : {"tokenizer.ggml.model", "tokenizer.ggml.pre", "tokenizer.ggml.tokens",
                          "tokenizer.ggml.token_type", "tokenizer.ggml.bos_token_id",
                          "tokenizer.ggml.eos_token_id", "tokenizer.chat_template"}) {
    INFO(key);
    REQUIRE(keys.contains(key));
    CHECK((keys.find(key)->second == before.find(key)->second));
  }
  GgufHeader made;
  made.metadata = keys;
  const auto tokenizer = open_tokenizer(made, config->vocabulary);
  INFO(tokenizer.message());
  REQUIRE(tokenizer.is_ok());
  const auto cases =
      nlohmann::json::parse(std::ifstream(TROUPE_TEST_DATA "/golden/smollm2_tokens.json"));
  for (const auto& one : cases) {
    const auto ids = (*tokenizer)->encode(one["text"].get<std::string>(), {});
    REQUIRE(ids.is_ok());
    CHECK(*ids == one["ids"].get<std::vector<TokenId>>());
  }
}

TEST_CASE("a GGUF file keeps the end that its folder's tokenizer puts after a text") {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: writing what goes around a text (TROUPE_TEST_MODEL is not set)");
    return;
  }
  const auto original = opened(path);
  const auto config = config_from_gguf(original->header());
  REQUIRE(config.is_ok());
  const TokenId end = 2, other = 1;  // <|im_end|>, the model's EOS, and <|im_start|>
  const auto keys_with = [&](const json& step, GgufMetadata* keys) {
    const GgufHeader folder =
        folder_of(original->header(), *config, [&](json& file) { file["post_processor"] = step; });
    return add_gguf_tokenizer(folder, config->vocabulary, keys);
  };
  GgufHeader made;
  const Status added = keys_with(puts_after("<|im_end|>", end), &made.metadata);
  INFO(added.message());
  REQUIRE(added.is_ok());
  const auto tokenizer = open_tokenizer(made, config->vocabulary);
  REQUIRE(tokenizer.is_ok());
  const auto ids = (*tokenizer)->encode("Hello", {});
  REQUIRE(ids.is_ok());
  REQUIRE(ids->size() > 1);
  CHECK(ids->back() == end);
  // GGUF has no key for other tokens after a text.
  GgufMetadata none;
  CHECK(keys_with(puts_after("<|im_start|>", other), &none).code() == Code::kFailedPrecondition);
}
