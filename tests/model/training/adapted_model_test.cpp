#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/local/evaluate.h>
#include <troupe/model/source/adapted_model.h>
#include <troupe/model/store/store.h>
#include <troupe/model/training/adapter_folder.h>
#include <troupe/model/training/gguf_export.h>
#include <troupe/model/training/trainer.h>
#include <troupe/tests/model/training/scratch_folder.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

namespace {

const std::string kPeftAdapter = TROUPE_TEST_DATA "/golden/lora/llama";

struct Adapted {
  std::filesystem::path folder;
  std::unique_ptr<WholeModel> source;
  ModelConfig config;
};

Adapted adapted(const ScratchFolder& scratch, const std::string& base, const std::string& adapter) {
  Adapted out;
  const auto folder = write_adapted_model(scratch.path(), base, adapter);
  REQUIRE(folder.is_ok());
  out.folder = *folder;
  auto opened = open_model(folder->string());
  INFO(opened.message());
  REQUIRE(opened.is_ok());
  out.source = std::move(*opened);
  const auto config = config_from_gguf(out.source->header());
  INFO(config.message());
  REQUIRE(config.is_ok());
  out.config = *config;
  return out;
}

std::vector<float> logits_of(const TensorSource& source, const ModelConfig& config, int threads,
                             std::size_t chunk, std::optional<kernels::Isa> isa = {}) {
  const auto device = training_device(threads, isa);
  const auto stage = Stage::load(source, config, {0, config.layers}, *device, {});
  INFO(stage.message());
  REQUIRE(stage.is_ok());
  std::vector<TokenId> ids;
  for (int i = 0; i < 60; ++i) ids.push_back(static_cast<TokenId>((i * 37 + 5) % 100));
  const auto logits = sequence_logits(**stage, ids, {}, chunk);
  REQUIRE(logits.is_ok());
  return *logits;
}

// Makes a quantized file of the tiny llama, in which the rows of q and k have GGUF's order.
std::string quantized(const TinyModel& tiny, const ScratchFolder& scratch) {
  const auto device = training_device(1);
  const auto trainer = Trainer::create(*tiny.source, tiny.config, *device, {});
  REQUIRE(trainer.is_ok());
  const auto metadata = export_metadata(tiny.source->header(), tiny.config, quant::Type::kQ4_1);
  REQUIRE(metadata.is_ok());
  const std::string path = (scratch.path() / "q.gguf").string();
  REQUIRE(write_gguf(path, *metadata, tiny.config, (*trainer)->parameters(), quant::Type::kQ4_1)
              .is_ok());
  return path;
}

}  // namespace

TEST_CASE("a model runs with an adapter that PEFT wrote, and gives PEFT's logits") {
  const TinyModel tiny("llama");
  const ScratchFolder scratch;
  const Adapted pair = adapted(scratch, tiny.folder, kPeftAdapter);
  const auto device = training_device(2);
  const auto stage = Stage::load(*pair.source, pair.config, {0, pair.config.layers}, *device, {});
  REQUIRE(stage.is_ok());
  const auto ids = tiny.batch()[0].ids;
  const auto ours = sequence_logits(**stage, ids, {}, 5);
  REQUIRE(ours.is_ok());
  const auto recorded = nlohmann::json::parse(std::ifstream(kPeftAdapter + "/expected.json"));
  const std::vector<double> logits = recorded["logits"];
  REQUIRE(ours->size() >= logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i)
    REQUIRE((*ours)[i] == Approx(logits[i]).margin(1e-5));
}

TEST_CASE("a model with an adapter has the same bits for threads, chunks and targets") {
  const TinyModel tiny("llama");
  const ScratchFolder scratch;
  const std::string file = quantized(tiny, scratch);
  for (const std::string& base : {tiny.folder, file}) {
    INFO(base);
    const Adapted pair = adapted(scratch, base, kPeftAdapter);
    const auto first = logits_of(*pair.source, pair.config, 1, 1);
    for (const int threads : {1, 2, 3, 4})
      for (const std::size_t chunk : {1, 2, 7, 60})
        CHECK(logits_of(*pair.source, pair.config, threads, chunk) == first);
    CHECK(logits_of(*pair.source, pair.config, 2, 60, kernels::Isa::kScalar) == first);
    const auto plain = open_model(base);
    REQUIRE(plain.is_ok());
    CHECK(logits_of(**plain, *config_from_gguf((*plain)->header()), 1, 60) != first);
  }
}

TEST_CASE("a model with an adapter has the bits of the trainer's forward pass") {
  const TinyModel tiny("llama");
  const ScratchFolder scratch;
  const auto device = training_device(2);
  TrainerOptions options;
  options.lora.rank = 4;
  options.lora.targets = {"all-linear"};
  const auto trainer = Trainer::create(*tiny.source, tiny.config, *device, options);
  REQUIRE(trainer.is_ok());
  for (int step = 0; step < 5; ++step) REQUIRE((*trainer)->step(tiny.batch(), 1e-2)->applied);
  REQUIRE(write_adapter_folder(scratch.path() / "adapter", {"x", {}, options.lora},
                               (*trainer)->config(), (*trainer)->parameters())
              .is_ok());
  const Adapted pair = adapted(scratch, tiny.folder, (scratch.path() / "adapter").string());
  const auto stage = Stage::load(*pair.source, pair.config, {0, pair.config.layers}, *device, {});
  REQUIRE(stage.is_ok());
  Example example;
  example.ids = tiny.batch()[0].ids;
  example.targets.assign(example.ids.size(), 0);
  CHECK(*sequence_logits(**stage, example.ids, {}, 3) ==
        (*trainer)->network().logits({&example, 1}));
}

TEST_CASE("a model with an adapter has a hash of its own") {
  const TinyModel tiny("llama");
  const ScratchFolder scratch;
  const Adapted pair = adapted(scratch, tiny.folder, kPeftAdapter);
  const auto store = Store::open(scratch.path() / "home");
  REQUIRE(store.is_ok());
  const auto plain = (*store)->manifest(tiny.folder), with = (*store)->manifest(pair.folder);
  REQUIRE(plain.is_ok());
  INFO(with.message());
  REQUIRE(with.is_ok());
  CHECK(plain->model != with->model);
  // An adapter with other values in the same place makes another model, and the same pair makes the
  // same model.
  const std::filesystem::path copy = scratch.path() / "copy";
  std::filesystem::copy(kPeftAdapter, copy);
  const Adapted same = adapted(scratch, tiny.folder, copy.string());
  CHECK((*store)->manifest(same.folder)->model == with->model);
  std::fstream file(copy / "adapter_model.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-3, std::ios::end);
  file.put('\x11');
  file.close();
  CHECK((*store)->manifest(same.folder)->model != with->model);
}

TEST_CASE("an adapter that does not fit is refused in words") {
  const TinyModel llama("llama"), qwen("qwen3"), bert("bert");
  const ScratchFolder scratch;
  const auto refusal = [&](const std::string& base, const std::filesystem::path& adapter) {
    const auto folder = write_adapted_model(scratch.path(), base, adapter);
    REQUIRE(folder.is_ok());
    return open_model(folder->string()).message();
  };
  CHECK_THAT(refusal(qwen.folder, kPeftAdapter),
             Catch::Contains("the adapter was trained on another model"));
  CHECK_THAT(refusal(llama.folder, scratch.path()), Catch::Contains("has no adapter_config.json"));
  CHECK_THAT(refusal(bert.folder, TROUPE_TEST_DATA "/golden/lora/bert"),
             Catch::Contains("merge such an adapter with troupe export"));
  const Adapted pair = adapted(scratch, llama.folder, kPeftAdapter);
  CHECK_THAT(refusal(pair.folder.string(), kPeftAdapter), Catch::Contains("one adapter at a time"));
}
