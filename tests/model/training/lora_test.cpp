#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/training/adapter_folder.h>
#include <troupe/model/training/gguf_export.h>
#include <troupe/model/training/head.h>
#include <troupe/model/training/trainer.h>
#include <troupe/tests/model/training/scratch_folder.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

namespace {

std::string golden_folder(const std::string& family) {
  return std::string(TROUPE_TEST_DATA "/golden/lora/") + family;
}

nlohmann::json expected(const std::string& family) {
  return nlohmann::json::parse(std::ifstream(golden_folder(family) + "/expected.json"));
}

LoraOptions lora(std::size_t rank, std::vector<std::string> targets) {
  LoraOptions options;
  options.rank = rank;
  options.targets = std::move(targets);
  return options;
}

std::vector<float> logits_of(Trainer& trainer, std::vector<TokenId> ids) {
  Example example;
  example.targets.assign(ids.size(), 0);
  example.ids = std::move(ids);
  return trainer.network().logits({&example, 1});
}

// Makes B different from zero, as training would.
void stir(Parameters& parameters) {
  int n = 0;
  for (const auto& adapter : parameters.adapters())
    for (std::size_t row = 0; row < adapter->up.spec.rows; ++row)
      for (std::size_t i = 0; i < adapter->rank(); ++i)
        adapter->b(row, i) = static_cast<float>(0.1 * std::sin(++n));
}

}  // namespace

// PEFT's arithmetic adds in another order: the losses drift apart by roundings, slowly.
TEST_CASE("an adapter that PEFT wrote gives PEFT's logits, losses and gradient norms") {
  for (const std::string family : {"llama", "bert"}) {
    INFO(family);
    const TinyModel tiny(family);
    const auto device = training_device(2);
    TrainerOptions options;
    options.optimizer.decays_vectors = true;
    options.optimizer.weight_decay = 0.01;
    const auto trainer = trainer_of(tiny, *device, options);
    freeze_for_adapters(trainer->parameters());
    const Status read =
        read_adapter_folder(golden_folder(family), trainer->config(), trainer->parameters());
    INFO(read.message());
    REQUIRE(read.is_ok());
    const auto recorded = expected(family);
    const std::vector<double> logits = recorded["logits"], losses = recorded["loss"];
    const std::vector<double> norms = recorded["gradient_norm"];
    const auto batch = tiny.batch();
    const std::vector<float> ours = logits_of(*trainer, batch[0].ids);
    REQUIRE(ours.size() == logits.size());
    for (std::size_t i = 0; i < ours.size(); ++i)
      REQUIRE(ours[i] == Approx(logits[i]).margin(1e-5));
    for (std::size_t step = 0; step < losses.size(); ++step) {
      INFO("step " << step);
      const auto report = trainer->step(batch, recorded["rate"]);
      REQUIRE(report.is_ok());
      CHECK(report->loss == Approx(losses[step]).epsilon(1e-3));
      CHECK(report->gradient_norm == Approx(norms[step]).epsilon(1e-2));
    }
  }
}

TEST_CASE("a new adapter changes nothing at first, and training leaves the base as it is") {
  const auto device = training_device(2);
  for (const std::string family : {"llama", "qwen3", "bert"}) {
    INFO(family);
    const TinyModel tiny(family);
    const auto batch = tiny.batch();
    const auto plain = trainer_of(tiny, *device);
    const auto before = logits_of(*plain, batch[0].ids);
    TrainerOptions options;
    options.lora = lora(5, {"all-linear"});
    const auto trainer = trainer_of(tiny, *device, options);
    CHECK(logits_of(*trainer, batch[0].ids) == before);
    double first = 0, last = 0;
    for (int step = 0; step < 30; ++step) {
      const auto report = trainer->step(batch, 1e-2);
      REQUIRE(report.is_ok());
      REQUIRE(report->applied);
      if (step == 0) first = report->loss;
      last = report->loss;
    }
    CHECK(last < first / 2);
    for (const Parameter& parameter : trainer->parameters().all()) {
      const Parameter* same = plain->parameters().find(parameter.spec.layer, parameter.spec.slot);
      const bool is_head = parameter.spec.slot >= kClassifier && parameter.spec.layer == kNoLayer;
      INFO(parameter.spec.name);
      CHECK((std::memcmp(parameter.stored_values(), same->stored_values(),
                         parameter.floats * sizeof(float)) == 0) != (is_head && family == "bert"));
      CHECK((parameter.gradient[0].bytes() != 0) == (is_head && family == "bert"));
    }
  }
}

TEST_CASE("adapters have the same bits for threads, micro-batches and targets") {
  for (const std::string family : {"llama", "bert"}) {
    const TinyModel tiny(family);
    std::string sha256;
    const auto compare = [&](int threads, std::optional<kernels::Isa> isa, std::size_t micro_batch,
                             bool checkpointing) {
      const auto device = training_device(threads, isa);
      TrainerOptions options;
      options.network = {micro_batch, checkpointing};
      options.lora = lora(5, {"q", "v", "down"});
      const auto trainer = trainer_of(tiny, *device, options);
      for (int step = 0; step < 20; ++step) REQUIRE(trainer->step(tiny.batch(), 1e-2)->applied);
      if (sha256.empty()) sha256 = trainer->parameters().sha256();
      INFO(family << ", " << threads << " threads, micro-batches of " << micro_batch);
      CHECK(trainer->parameters().sha256() == sha256);
    };
    compare(1, {}, 0, false);
    compare(2, {}, 1, false);
    compare(4, {}, 2, true);
    compare(2, kernels::Isa::kScalar, 1, false);
  }
}

TEST_CASE("logits that are computed in slices give the same bits") {
  const TinyModel tiny("llama");
  std::vector<Example> batch;
  const std::size_t length = std::min<std::size_t>(tiny.config.context_max, 150);
  for (std::size_t i = 0; i < 14; ++i) {
    Example& example = batch.emplace_back();
    for (std::size_t at = 0; at < length; ++at) {
      example.ids.push_back(static_cast<TokenId>((7 * i + 3 * at) % tiny.config.vocabulary));
      example.targets.push_back(static_cast<TokenId>((5 * i + at) % tiny.config.vocabulary));
    }
  }
  REQUIRE(batch.size() * length > 2 * kSliceRows);
  REQUIRE(2 * length < kSliceRows);
  std::vector<double> losses;
  std::string sha256;
  for (const std::size_t micro_batch :
       {0, 2}) {  // some slices of the batch, or one of a micro-batch
    const auto device = training_device(2);
    TrainerOptions options;
    options.network.micro_batch = micro_batch;
    options.lora = lora(4, {"q", "v"});
    const auto trainer = trainer_of(tiny, *device, options);
    for (int step = 0; step < 3; ++step) REQUIRE(trainer->step(batch, 1e-2)->applied);
    const std::vector<double> now = trainer->network().example_losses(batch);
    if (losses.empty()) losses = now, sha256 = trainer->parameters().sha256();
    CHECK(now == losses);
    CHECK(trainer->parameters().sha256() == sha256);
  }
}

TEST_CASE("an adapter beside quantized weights has the bits that it has beside their f32 values") {
  const TinyModel tiny("llama");
  const ScratchFolder scratch;
  const auto write = [&](const TensorSource& source, const char* name, quant::Type type) {
    const auto device = training_device(1);
    const auto config = config_from_gguf(source.header());
    REQUIRE(config.is_ok());
    const auto trainer = Trainer::create(source, *config, *device, {});
    REQUIRE(trainer.is_ok());
    const auto metadata = export_metadata(source.header(), *config, type);
    REQUIRE(metadata.is_ok());
    REQUIRE(write_gguf(scratch.path() / name, *metadata, *config, (*trainer)->parameters(), type)
                .is_ok());
    auto opened = open_model((scratch.path() / name).string());
    REQUIRE(opened.is_ok());
    return std::move(*opened);
  };
  const auto quantized = write(*tiny.source, "q.gguf", quant::Type::kQ4_1);
  const auto floats = write(*quantized, "f.gguf", quant::Type::kF32);
  std::vector<float> expected;
  const auto compare = [&](const TensorSource& source, int threads,
                           std::optional<kernels::Isa> isa) {
    const auto device = training_device(threads, isa);
    const auto config = config_from_gguf(source.header());
    TrainerOptions options;
    options.lora = lora(4, {"all-linear"});
    const auto trainer = Trainer::create(source, *config, *device, options);
    REQUIRE(trainer.is_ok());
    for (int step = 0; step < 8; ++step) REQUIRE((*trainer)->step(tiny.batch(), 1e-2)->applied);
    const Weight& query = (*trainer)->parameters().weights().layers[0][kQ];
    CHECK(query.matrix.type == source.header().tensor("blk.0.attn_q.weight")->type);
    std::vector<float> values;
    for (const auto& adapter : (*trainer)->parameters().adapters())
      for (Parameter* part : {&adapter->down, &adapter->up})
        values.insert(values.end(), part->values(), part->values() + part->floats);
    if (expected.empty()) expected = values;
    CHECK(std::memcmp(values.data(), expected.data(), values.size() * sizeof(float)) == 0);
  };
  compare(*floats, 1, {});
  compare(*quantized, 1, {});
  compare(*quantized, 3, {});
  compare(*quantized, 2, kernels::Isa::kScalar);
}

TEST_CASE("an adapter's folder is read back bit for bit, also where rows are turned") {
  const auto device = training_device(1);
  for (const bool is_turned : {false, true}) {
    TinyModel tiny("llama");
    tiny.config.rope_interleaved = is_turned;
    TrainerOptions options;
    options.lora = lora(4, {"q_proj", "self_attn.k_proj", "up"});
    const auto trainer = trainer_of(tiny, *device, options);
    stir(trainer->parameters());
    const ScratchFolder scratch;
    const AdapterFolder about{"tiny", {}, options.lora};
    REQUIRE(write_adapter_folder(scratch.path(), about, trainer->config(), trainer->parameters())
                .is_ok());
    const auto other = trainer_of(tiny, *device);
    REQUIRE(read_adapter_folder(scratch.path(), other->config(), other->parameters()).is_ok());
    CHECK(other->parameters().sha256() == trainer->parameters().sha256());
    const auto fields =
        nlohmann::json::parse(std::ifstream(scratch.path() / "adapter_config.json"));
    CHECK(fields["target_modules"].get<std::set<std::string>>() ==
          std::set<std::string>{"q_proj", "k_proj", "up_proj"});
    CHECK(fields["r"] == 4);
    CHECK(fields["lora_alpha"] == 8.0);
    // The rows of B in the file have the order that a Hugging Face folder has for the rows of Q.
    const auto file = Safetensors::open_file(scratch.path() / "adapter_model.safetensors");
    const auto b =
        read_tensor<float>(*file, "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight");
    const std::size_t dim = tiny.config.head_dim;
    const std::size_t stored = dim / 2, ours = is_turned ? 1 : dim / 2;
    CHECK(b[stored * 4] == trainer->parameters().adapter(1, kQ)->b(ours, 0));
  }
}

TEST_CASE("modules that end alike are named by a pattern") {
  const auto device = training_device(1);
  const TinyModel tiny("bert");
  TrainerOptions options;
  options.lora = lora(2, {"attention.output.dense", "query"});
  const auto trainer = trainer_of(tiny, *device, options);
  const ScratchFolder scratch;
  REQUIRE(write_adapter_folder(scratch.path(), {"tiny", {"no", "yes"}, options.lora},
                               trainer->config(), trainer->parameters())
              .is_ok());
  const auto fields = nlohmann::json::parse(std::ifstream(scratch.path() / "adapter_config.json"));
  CHECK(fields["target_modules"] ==
        ".*\\.\\d+\\.(attention\\.self\\.query|attention\\.output\\.dense)");
  CHECK(*adapter_labels(scratch.path()) == std::vector<std::string>{"no", "yes"});
  CHECK(*adapter_labels(golden_folder("bert")) == std::vector<std::string>{"LABEL_0", "LABEL_1"});
  CHECK(adapter_labels(golden_folder("llama"))->empty());
  CHECK(fields["modules_to_save"] == nlohmann::json{"classifier"});
}

// Merging adds B A onto W before the product instead of after it: another order of roundings.
TEST_CASE("a merged adapter computes what the adapter computed") {
  const auto device = training_device(2);
  for (const std::string family : {"llama", "bert"}) {
    const TinyModel tiny(family);
    TrainerOptions options;
    options.lora = lora(4, {"all-linear"});
    options.lora.rank_stabilized = true;
    const auto trainer = trainer_of(tiny, *device, options);
    stir(trainer->parameters());
    const auto ids = tiny.batch()[0].ids;
    const auto before = logits_of(*trainer, ids);
    merge_adapters(trainer->parameters(), device->pool());
    const auto after = logits_of(*trainer, ids);
    float largest = 0.0f;
    for (const float logit : before) largest = std::max(largest, std::abs(logit));
    CHECK(before != after);
    for (std::size_t i = 0; i < before.size(); ++i)
      REQUIRE(std::abs(before[i] - after[i]) < 1e-5f * largest);
  }
}

TEST_CASE("an adapter that does not fit the model is refused by name") {
  const auto device = training_device(1);
  const TinyModel tiny("llama"), gpt2("gpt2");
  const auto refused = [&](const TinyModel& model, const LoraOptions& options) {
    TrainerOptions trainer;
    trainer.lora = options;
    return Trainer::create(*model.source, model.config, *device, trainer).message();
  };
  CHECK_THAT(refused(tiny, lora(2, {"query"})),
             Catch::Contains("no matrix 'query'") && Catch::Contains("self_attn.q_proj"));
  CHECK_THAT(refused(tiny, lora(33, {"v"})), Catch::Contains("smaller --lora-rank"));
  CHECK_THAT(refused(gpt2, lora(2, {"all-linear"})),
             Catch::Contains("stores the matrix of") && Catch::Contains("mlp.c_fc"));
  const auto unread = [&](const std::string& field, const nlohmann::json& value) {
    const ScratchFolder scratch;
    std::filesystem::copy(golden_folder("llama"), scratch.path(),
                          std::filesystem::copy_options::recursive);
    auto fields = nlohmann::json::parse(std::ifstream(scratch.path() / "adapter_config.json"));
    fields[field] = value;
    std::ofstream(scratch.path() / "adapter_config.json") << fields.dump();
    const auto trainer = trainer_of(tiny, *device);
    return read_adapter_folder(scratch.path(), trainer->config(), trainer->parameters()).message();
  };
  CHECK_THAT(unread("use_dora", true), Catch::Contains("use_dora"));
  CHECK_THAT(unread("peft_type", "IA3"), Catch::Contains("peft_type"));
  CHECK_THAT(unread("rank_pattern", {{"q_proj", 8}}), Catch::Contains("rank_pattern"));
  CHECK_THAT(unread("r", 0), Catch::Contains("\"r\""));
  CHECK_THAT(unread("peft_type", 5), Catch::Contains("peft_type"));
  CHECK_THAT(unread("lora_alpha", 0), Catch::Contains("lora_alpha"));
  CHECK_THAT(unread("use_rslora", "yes"), Catch::Contains("use_rslora"));
  CHECK_THAT(unread("init_lora_weights", "pissa_niter_4"), Catch::Contains("init_lora_weights"));
  const TinyModel bert("bert");
  const auto trainer = trainer_of(bert, *device);
  CHECK_THAT(read_adapter_folder(golden_folder("llama"), trainer->config(), trainer->parameters())
                 .message(),
             Catch::Contains("no place for the tensor"));
}
