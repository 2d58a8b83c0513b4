#include <algorithm>
#include <cstdlib>
#include <functional>

#include <catch2/catch.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/transformer/accelerated_stage.h>
#include <troupe/model/transformer/weights.h>
#include <troupe/tests/model/transformer/memory_model.h>
#include <troupe/tests/runtime/cuda/emulated_card.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;
using quant::Type;

namespace {

std::unique_ptr<Device> make_gpu() {
  auto device = Device::create({2, false, std::nullopt}, troupe::test::make_emulated_card());
  REQUIRE(device.is_ok());
  return std::move(*device);
}

ModelConfig small_config(std::size_t layers = 2) {
  ModelConfig config = odd_config();
  config.layers = layers;
  return config;
}

std::vector<std::unique_ptr<Stage>> stage_on(const Model& model, Device& device,
                                             const StageOptions& options = {}) {
  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(
      load_stage(model.source, model.config, {0, model.config.layers}, device, options));
  return stages;
}

// Requires that the GPU's logits equal the CPU's for these ids, whatever the chunks.
void require_same(const Model& model, std::size_t count, const StageOptions& options,
                  std::initializer_list<std::size_t> chunks) {
  const auto ids = random_ids(count, model.config.vocabulary, 7);
  const auto cpu = make_device(2);
  const auto gpu = make_gpu();
  const auto expected = all_logits(stage_on(model, *cpu, options), ids, count);
  REQUIRE(std::all_of(expected.begin(), expected.end(), [](float x) { return std::isfinite(x); }));
  REQUIRE(*std::max_element(expected.begin(), expected.end()) > 0.1f);
  const auto stages = stage_on(model, *gpu, options);
  REQUIRE_FALSE(stages[0]->weights().ends[kTokenEmbedding].matrix.data.on_host());
  REQUIRE(all_logits(stages, ids, count) == expected);
  for (const std::size_t chunk : chunks) {
    INFO("chunks of " << chunk);
    REQUIRE(all_logits(stages, ids, chunk) == expected);
  }
}

}  // namespace

TEST_CASE("cuda: a stage of every weight format gives the CPU's bits") {
  ModelConfig config = small_config();
  config.channels = 256;
  config.ffn_channels = 512;
  config.heads = 8;
  config.head_dim = 32;
  config.rotary_dim = 32;
  for (const quant::Format& format : quant::formats()) {
    INFO(format.name);
    require_same(random_model(config, format.type, format.type), 7, {}, {1, 4});
  }
  for (const quant::Format& format : quant::file_formats()) {
    // In the other formats, the scale does not lie where random_model puts one.
    if (format.type != Type::kIQ2_XXS) continue;
    INFO(format.name);
    const auto gpu = make_gpu(), cpu = make_device(1);
    const Model model = random_model(config, format.type, Type::kQ8_0);
    const auto ids = random_ids(3, config.vocabulary, 7);
    REQUIRE(all_logits(stage_on(model, *gpu), ids, 3) == all_logits(stage_on(model, *cpu), ids, 3));
  }
  // A file that mixes formats, with both kinds of blocks.
  require_same(random_model(config, Type::kQ4_K, Type::kQ6_K, 1, Type::kQ5_0), 7, {}, {1, 4});
  require_same(random_model(config, Type::kQ8_0, Type::kF16, 1, Type::kQ6_K), 7, {}, {1, 4});
}

TEST_CASE("cuda: whole tiny families give the CPU's bits") {
  const struct {
    const char* family;
    std::function<void(ModelConfig&)> change;
  } families[] = {
      {"llama", [](ModelConfig&) {}},
      {"llama", [](ModelConfig& c) { c.qkv_bias = c.attn_output_bias = c.ffn_bias = true; }},
      {"llama", [](ModelConfig& c) { c.tied_embedding = false; }},
      {"llama",
       [](ModelConfig& c) {
         c.rope_scaling = RopeScaling::kLlama3;
         c.rope_factor = 8.0;
         c.rope_context = 32;
       }},
      {"mistral", [](ModelConfig& c) { c.window = 19; }},
      {"qwen2",
       [](ModelConfig& c) {
         c.qkv_bias = true;
         c.rope_interleaved = false;
         c.window = 30;
         c.window_begin = 1;
       }},
      {"qwen3",
       [](ModelConfig& c) {
         c.head_norm = true;
         c.rope_interleaved = false;
         c.head_dim = 32;  // not channels / heads
         c.rotary_dim = 32;
       }},
      {"smollm3", [](ModelConfig& c) { c.unrotated_period = 2; }},
  };
  unsigned seed = 0;
  for (const auto& family : families)
    for (const Type type : {Type::kQ8_0, Type::kQ4_0}) {
      ModelConfig config = small_config();
      config.family = family.family;
      family.change(config);
      INFO(family.family << ", " << quant::find(type)->name);
      troupe::test::set_schedule(seed++ % 4);
      require_same(random_model(config, type, Type::kQ8_0), type == Type::kQ8_0 ? 67 : 33, {}, {9});
    }
  troupe::test::set_schedule(0);
}

TEST_CASE("cuda: long sequences, f32 keys and f16 activations give the CPU's bits") {
  const Model model = random_model(small_config(), Type::kQ4_0, Type::kQ8_0);
  require_same(model, 270, {}, {64});
  require_same(model, 30, {kernels::KvType::kF32, 0}, {1});
  require_same(model, 30, {kernels::KvType::kF16, 0, true}, {1});
}

TEST_CASE("cuda: layers on a GPU and layers on CPUs give the text of either alone") {
  const Model model = random_model(small_config(5), Type::kQ8_0, Type::kQ4_1);
  const auto cpu = make_device(2);
  const auto gpu = make_gpu();
  const auto ids = random_ids(40, model.config.vocabulary, 7);
  for (const bool f16 : {false, true}) {
    const StageOptions options{kernels::KvType::kF16, 0, f16};
    const auto expected = all_logits(stage_on(model, *cpu, options), ids, ids.size());
    const auto split = [&](Device& first, Device& second, std::size_t at, std::size_t chunk) {
      std::vector<std::unique_ptr<Stage>> stages;
      stages.push_back(load_stage(model.source, model.config, {0, at}, first, options));
      stages.push_back(load_stage(model.source, model.config, {at, 5}, second, options));
      return all_logits(stages, ids, chunk);
    };
    for (const std::size_t at : {std::size_t{1}, std::size_t{4}}) {
      REQUIRE(split(*gpu, *cpu, at, 40) == expected);
      REQUIRE(split(*cpu, *gpu, at, 13) == expected);
      REQUIRE(split(*gpu, *gpu, at, 13) == expected);
    }
  }
}

namespace {

// Runs answers of several sequences that share steps with chunks of prompts; one sequence is cut
// back and continues with other tokens. Returns the logits of the rows that asked for them.
std::vector<float> batched(Stage& stage, bool alone) {
  const std::size_t V = stage.config().vocabulary;
  std::vector<std::unique_ptr<KvSequence>> sequences;
  std::vector<std::vector<TokenId>> ids;
  for (unsigned i = 0; i < 5; ++i) {
    sequences.push_back(stage.new_sequence());
    ids.push_back(random_ids(120, V, 20 + i));
  }
  std::vector<float> found;
  const auto step = [&](const std::vector<std::pair<std::size_t, std::size_t>>& parts) {
    std::vector<Segment> segments;
    std::vector<TokenId> tokens;
    const auto flush = [&] {
      if (segments.empty()) return;
      StepOutput output;
      const Status status = stage.forward({segments, tokens, {}}, &output);
      INFO(status.message());
      REQUIRE(status.is_ok());
      found.insert(found.end(), output.logits.begin(), output.logits.end());
      segments.clear();
      tokens.clear();
    };
    for (const auto& [sequence, count] : parts) {
      const std::size_t at = sequences[sequence]->length();
      segments.push_back({sequences[sequence].get(), at, count, LogitRows::kLast});
      for (std::size_t i = 0; i < count; ++i) tokens.push_back(ids[sequence][at + i]);
      if (alone) flush();
    }
    flush();
  };
  step({{0, 3}, {1, 61}});
  step({{0, 1}, {1, 1}, {2, 40}});
  step({{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}});
  step({{4, 1}, {3, 1}, {2, 1}, {1, 1}});
  sequences[1]->truncate(17);
  sequences[2]->truncate(0);
  ids[1] = random_ids(120, V, 40);
  step({{1, 50}, {0, 1}, {2, 2}});
  step({{0, 1}, {1, 1}, {2, 1}, {3, 1}, {4, 1}});
  return found;
}

}  // namespace

TEST_CASE("cuda: batched, cut back and paged answers are the CPU's") {
  const Model model = random_model(small_config(), Type::kQ4_1, Type::kQ8_0);
  const auto cpu = make_device(2);
  const auto gpu = make_gpu();
  const auto on_cpu = stage_on(model, *cpu), on_gpu = stage_on(model, *gpu);
  const auto expected = batched(*on_cpu[0], false);
  REQUIRE(batched(*on_gpu[0], false) == expected);
  REQUIRE(batched(*on_gpu[0], true) == expected);
}

TEST_CASE("cuda: the best id is that of the CPU's logits, on either device") {
  const Model model = random_model(small_config(), Type::kQ8_0, Type::kQ8_0);
  const auto cpu = make_device(2);
  const auto gpu = make_gpu();
  const auto ids = random_ids(12, model.config.vocabulary, 3);
  StepOutput outputs[2];
  Device* const devices[] = {cpu.get(), gpu.get()};
  for (int i = 0; i < 2; ++i) {
    const auto stages = stage_on(model, *devices[i]);
    const auto a = stages[0]->new_sequence(), b = stages[0]->new_sequence(),
               c = stages[0]->new_sequence();
    const Segment segments[] = {{a.get(), 0, 4, LogitRows::kBest},
                                {b.get(), 0, 5, LogitRows::kLast},
                                {c.get(), 0, 3, LogitRows::kBest}};
    REQUIRE(stages[0]->forward({segments, ids, {}}, &outputs[i]).is_ok());
    REQUIRE(outputs[i].logits.size() == model.config.vocabulary);
    REQUIRE(outputs[i].best.size() == 2);
    // The same rows with all their logits.
    const auto whole = stages[0]->new_sequence();
    const Segment alone{whole.get(), 0, 4, LogitRows::kLast};
    StepOutput all;
    REQUIRE(stages[0]->forward({{&alone, 1}, std::span(ids).first(4), {}}, &all).is_ok());
    const auto best = std::max_element(all.logits.begin(), all.logits.end());
    REQUIRE(outputs[i].best[0].id == best - all.logits.begin());
    REQUIRE(outputs[i].best[0].value == *best);
    REQUIRE_FALSE(outputs[i].best[0].is_nan);
  }
  REQUIRE(outputs[0].logits == outputs[1].logits);
  for (std::size_t i = 0; i < 2; ++i) REQUIRE(outputs[0].best[i].id == outputs[1].best[i].id);
}

TEST_CASE("cuda: what a GPU does not compute is refused in words when the stage loads") {
  const auto gpu = make_gpu();
  const struct {
    std::function<void(ModelConfig&)> change;
    const char* words;
  } cases[] = {
      {[](ModelConfig& c) { c.norm = NormKind::kLayer; }, "layer norms"},
      {[](ModelConfig& c) { c.post_norm = true; }, "norms after sums"},
      {[](ModelConfig& c) { c.feed_forward = FeedForward::kGatedGelu; }, "SiLU"},
      {[](ModelConfig& c) { c.attention_cap = 50.0f; }, "capped scores"},
      {[](ModelConfig& c) { c.attention_sinks = true; }, "attention sinks"},
      {[](ModelConfig& c) { c.embedding_scale = 8.0f; }, "embeddings"},
      {[](ModelConfig& c) { c.residual_scale = 0.5f; }, "sublayer"},
      {[](ModelConfig& c) { c.logit_divisor = 2.0f; }, "divided logits"},
      {[](ModelConfig& c) { c.causal = false; }, "encoders"},
      {[](ModelConfig& c) { c.experts = 4; }, "mixtures of experts"},
      {[](ModelConfig& c) { c.head_dim = 512; }, "more than 256 channels"},
      {[](ModelConfig& c) { c.head_dim = 33; }, "odd number of channels"},
  };
  const Model model = random_model(small_config(), Type::kQ8_0, Type::kQ8_0);
  for (const auto& one : cases) {
    ModelConfig config = small_config();
    one.change(config);
    const auto loaded = Stage::load(model.source, config, {0, 2}, *gpu, {});
    REQUIRE(loaded.code() == Code::kFailedPrecondition);
    REQUIRE_THAT(loaded.message(), Contains(one.words) && Contains("--device cpu"));
  }
}

TEST_CASE("cuda: keys and values are bounded at load, and a full arena changes nothing") {
  const Model model = random_model(small_config(), Type::kQ8_0, Type::kQ8_0);
  const auto gpu = make_gpu();
  const auto cpu = make_device(1);
  const auto ids = random_ids(200, model.config.vocabulary, 7);
  const std::size_t block = 2 * kernels::kv_page_bytes(kernels::KvType::kF16, 2, 16);
  const auto stages = stage_on(model, *gpu, {kernels::KvType::kF16, 2 * block});
  const std::size_t used = troupe::test::used_card_memory();
  const auto sequence = stages[0]->new_sequence(), other = stages[0]->new_sequence();
  const auto feed = [&](KvSequence& to, std::size_t count, StepOutput* output) {
    const Segment segment{&to, to.length(), count, LogitRows::kLast};
    return stages[0]->forward({{&segment, 1}, std::span(ids).subspan(to.length(), count), {}},
                              output);
  };
  StepOutput output;
  REQUIRE(feed(*sequence, 65, &output).is_ok());
  REQUIRE(sequence->bytes() == 2 * block);
  const Status full = feed(*other, 1, &output);
  REQUIRE(full.code() == Code::kResourceExhausted);
  REQUIRE(other->length() == 0);
  REQUIRE(feed(*sequence, 63, &output).is_ok());
  REQUIRE(feed(*sequence, 1, &output).code() == Code::kResourceExhausted);
  REQUIRE(sequence->length() == 128);
  sequence->truncate(64);
  REQUIRE(feed(*other, 1, &output).is_ok());
  // The returned blocks still hold old keys, which nothing uses.
  const auto on_cpu = stage_on(model, *cpu);
  const auto plain = on_cpu[0]->new_sequence();
  const Segment first{plain.get(), 0, 1, LogitRows::kLast};
  StepOutput expected;
  REQUIRE(on_cpu[0]->forward({{&first, 1}, std::span(ids).first(1), {}}, &expected).is_ok());
  REQUIRE(output.logits == expected.logits);
  REQUIRE(troupe::test::used_card_memory() >= used);
}

TEST_CASE("cuda: a card that is too small says so and gives everything back") {
  const Model model = random_model(small_config(), Type::kQ8_0, Type::kQ8_0);
  const auto gpu = make_gpu();
  const std::size_t before = troupe::test::used_card_memory();
  const std::size_t had = troupe::test::set_card_memory(before + 60000);
  const auto loaded = Stage::load(model.source, model.config, {0, 2}, *gpu, {});
  CHECK(loaded.code() == Code::kResourceExhausted);
  CHECK_THAT(loaded.message(), Contains("cuda:0"));
  CHECK(troupe::test::used_card_memory() == before);
  troupe::test::set_card_memory(had);
  const auto again = Stage::load(model.source, model.config, {0, 2}, *gpu, {});
  INFO(again.message());
  REQUIRE(again.is_ok());
  // Another program takes memory in the middle.
  const auto sequence = (*again)->new_sequence();
  const auto ids = random_ids(500, model.config.vocabulary, 7);
  troupe::test::set_card_memory(troupe::test::used_card_memory());
  const Segment segment{sequence.get(), 0, ids.size(), LogitRows::kLast};
  StepOutput output;
  const Status status = (*again)->forward({{&segment, 1}, ids, {}}, &output);
  CHECK(status.code() == Code::kResourceExhausted);
  CHECK(sequence->length() == 0);
  troupe::test::set_card_memory(had);
  CHECK((*again)->forward({{&segment, 1}, ids, {}}, &output).is_ok());
}

TEST_CASE("cuda: a card that fails stays broken, and nothing was appended") {
  const Model model = random_model(small_config(), Type::kQ8_0, Type::kQ8_0);
  const auto gpu = make_gpu();
  const auto stages = stage_on(model, *gpu);
  const auto sequence = stages[0]->new_sequence();
  const auto ids = random_ids(3, model.config.vocabulary, 7);
  const auto feed = [&] {
    const Segment segment{sequence.get(), sequence->length(), 1, LogitRows::kBest};
    StepOutput output;
    return stages[0]->forward({{&segment, 1}, std::span(ids).first(1), {}}, &output);
  };
  troupe::test::break_card_after(1);
  CHECK(feed().is_ok());
  const Status failed = feed();
  troupe::test::mend_card();
  CHECK(failed.code() == Code::kUnavailable);
  CHECK_THAT(failed.message(), Contains("illegal memory access") && Contains("cuda:0"));
  CHECK(sequence->length() == 1);
  CHECK(feed().code() == Code::kUnavailable);  // only a new process clears the failure
  CHECK(gpu->accelerator()->health().code() == Code::kUnavailable);
  CHECK(Stage::load(model.source, model.config, {0, 2}, *gpu, {}).code() == Code::kUnavailable);
}

TEST_CASE("cuda: stages of one model on a card share what they have in common") {
  const Model model = random_model(small_config(), Type::kQ8_0, Type::kQ8_0);
  const auto gpu = make_gpu();
  const StageOptions options{kernels::KvType::kF16, 1 << 20};
  const std::shared_ptr<const Stage> whole =
      load_stage(model.source, model.config, {0, 2}, *gpu, options);
  StageOptions sharing = options;
  sharing.siblings = {whole};
  const auto part = load_stage(model.source, model.config, {1, 2}, *gpu, sharing);
  REQUIRE(part->weights().layers[0][kQ].matrix.data.data() ==
          whole->weights().layers[1][kQ].matrix.data.data());
  const Stage* both[] = {whole.get(), part.get()};
  REQUIRE(weights_bytes(both) < whole->weights_bytes() + part->weights_bytes());
}

// This takes minutes on the emulation, and runs only by its name.
TEST_CASE("cuda: the real model gives the CPU's bits", "[.]") {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: TROUPE_TEST_MODEL is not set");
    return;
  }
  const std::size_t had = troupe::test::set_card_memory(std::size_t{1} << 30);
  const auto source = open_model(path);
  REQUIRE(source.is_ok());
  const auto config = config_from_gguf((*source)->header());
  REQUIRE(config.is_ok());
  const auto ids = random_ids(11, config->vocabulary, 7);
  const StageOptions options{kernels::KvType::kF16, std::uint64_t{8} << 20};
  std::vector<float> logits[2];
  const auto cpu = make_device(2), gpu = make_gpu();
  Device* const devices[] = {cpu.get(), gpu.get()};
  for (int i = 0; i < 2; ++i) {
    std::vector<std::unique_ptr<Stage>> stages;
    stages.push_back(load_stage(**source, *config, {0, config->layers}, *devices[i], options));
    logits[i] = all_logits(stages, ids, i == 0 ? 11 : 10);  // a prompt, then one token
  }
  REQUIRE(logits[0] == logits[1]);
  troupe::test::set_card_memory(had);
}
