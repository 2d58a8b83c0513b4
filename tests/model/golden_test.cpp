#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/local/evaluate.h>
#include <troupe/model/sampling/logprobs.h>
#include <troupe/model/sampling/sampler.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/runtime/file.h>
#include <troupe/tests/model/transformer/memory_model.h>

// Compares the real model, SmolLM2-135M-Instruct Q4_1, with recorded logits, which were computed in
// f32 from dequantized weights. Ours quantizes activations and keeps keys and values in f16, hence
// the margins.

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

namespace {

const char* model_path(const char* test) {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) WARN("skipped: " << test << " (TROUPE_TEST_MODEL is not set)");
  return path;
}

struct RealModel {
  explicit RealModel(const char* path) {
    auto opened = open_gguf(path);
    INFO(opened.message());
    REQUIRE(opened.is_ok());
    source = std::move(*opened);
    auto read = config_from_gguf(source->header());
    INFO(read.message());
    REQUIRE(read.is_ok());
    config = *read;
  }
  std::vector<std::unique_ptr<Stage>> load(const std::vector<LayerRange>& ranges, Device& device) {
    std::vector<std::unique_ptr<Stage>> stages;
    for (const LayerRange range : ranges)
      stages.push_back(load_stage(*source, config, range, device));
    return stages;
  }
  std::unique_ptr<TensorSource> source;
  ModelConfig config;
};

nlohmann::json golden() {
  std::ifstream file(TROUPE_TEST_DATA "/golden/smollm2_logits.json");
  return nlohmann::json::parse(file);
}

}  // namespace

TEST_CASE("log-probabilities and greedy choices are the recorded ones") {
  const char* path = model_path("log-probabilities and greedy choices are the recorded ones");
  if (path == nullptr) return;
  const auto device = make_device(2);
  RealModel model(path);
  const auto stages = model.load({{0, 30}}, *device);
  const std::size_t V = model.config.vocabulary;
  int compared = 0, positions = 0;
  double worst = 0.0;
  const nlohmann::json recorded = golden();
  for (const auto& generation : recorded["generations"]) {
    std::vector<TokenId> ids = generation["prompt_ids"];
    const std::size_t prompt = ids.size();
    const std::vector<TokenId> greedy = generation["greedy_ids"];
    const std::vector<double> gaps = generation["greedy_top1_minus_top2_logprob"];
    // Every recorded prefix at once: position prompt - 1 + i predicts greedy[i].
    ids.insert(ids.end(), greedy.begin(), greedy.end() - 1);
    const auto logits = all_logits(stages, ids, ids.size());
    const auto row = [&](std::size_t position) {
      return std::span(logits).subspan(position * V, V);
    };
    for (const auto& [id, expected] :
         generation["first_position_top20_logprobs"].get<std::vector<std::pair<TokenId, double>>>())
      worst = std::max(worst, std::abs(log_probability(row(prompt - 1), id) - expected));
    for (std::size_t i = 0; i < greedy.size(); ++i) {
      ++positions;
      if (gaps[i] <= 0.35) continue;
      ++compared;
      const auto choice = sample(row(prompt - 1 + i), {}, prompt + i);
      INFO(generation["prompt"] << ", position " << i);
      REQUIRE(choice.is_ok());
      REQUIRE(*choice == greedy[i]);
    }
  }
  REQUIRE(positions == 198);
  REQUIRE(compared == 159);
  INFO("largest difference of a top-20 log-probability: " << worst);
  REQUIRE(worst < 0.6);
}

TEST_CASE("the perplexity of a long text is the recorded one") {
  const char* path = model_path("the perplexity of a long text is the recorded one");
  if (path == nullptr) return;
  const auto text = read_file("/usr/share/common-licenses/GPL-3", 1 << 20);
  if (!text.is_ok()) {
    WARN("skipped: the perplexity of a long text is the recorded one (no GPL-3 on this system)");
    return;
  }
  const auto device = make_device(2);
  RealModel model(path);
  const auto stages = model.load({{0, 30}}, *device);
  const auto tokenizer = tokenizer_from_gguf(model.source->header());
  REQUIRE(tokenizer.is_ok());
  const auto ids = (*tokenizer)->encode(*text, {false, false});
  REQUIRE(ids.is_ok());
  const auto result = perplexity(*stages[0], *ids, 512, 4);
  REQUIRE(result.is_ok());
  const auto expected = golden()["perplexity"];
  REQUIRE(result->window_nll.size() == 4);
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(result->window_nll[i] == Approx(expected["window_nll"][i].get<double>()).epsilon(0.01));
  REQUIRE(result->mean_nll == Approx(expected["mean_nll"].get<double>()).epsilon(0.005));
}

TEST_CASE("the real model's bits do not depend on threads, chunks, targets or stages") {
  const char* path =
      model_path("the real model's bits do not depend on threads, chunks, targets or stages");
  if (path == nullptr) return;
  RealModel model(path);
  const auto ids = random_ids(80, model.config.vocabulary, 11);
  std::vector<float> expected;
  const auto compare = [&](int threads, kernels::Isa isa, std::vector<LayerRange> ranges,
                           std::size_t chunk, std::size_t count = 80) {
    const auto device = make_device(threads, isa);
    auto logits =
        all_logits(model.load(ranges, *device),
                   {ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count)}, chunk);
    if (expected.empty()) {
      expected = std::move(logits);
      return;
    }
    INFO(threads << " threads, " << kernels::isa_name(isa) << ", chunks of " << chunk);
    REQUIRE(std::equal(logits.begin(), logits.end(), expected.begin()));
  };
  const auto best = isas().back();
  const std::vector<LayerRange> whole{{0, 30}};
  compare(2, best, whole, 80);
  for (const auto isa : isas()) compare(2, isa, whole, 13, isa == kernels::Isa::kScalar ? 26 : 80);
  for (const int threads : {1, 3}) compare(threads, best, whole, 80);
  compare(1, best, whole, 7);
  compare(2, best, whole, 1);
  compare(2, best, {{0, 10}, {10, 20}, {20, 30}}, 80);
  compare(2, best, {{0, 1}, {1, 18}, {18, 30}}, 9);
}

TEST_CASE("a generation does not depend on how its prompt is fed") {
  const char* path = model_path("a generation does not depend on how its prompt is fed");
  if (path == nullptr) return;
  const auto device = make_device(2);
  RealModel model(path);
  const auto stages = model.load({{0, 30}}, *device);
  const std::vector<TokenId> prompt{504, 3575, 282, 4649, 314};  // "The capital of France is"
  GenerateOptions options;
  options.tokens_max = 16;
  const auto greedy = generate(*stages[0], prompt, options);
  REQUIRE(greedy.is_ok());
  REQUIRE(greedy->token_ids.front() == 7042);  // " Paris"
  options.prompt_chunk = 2;
  REQUIRE(generate(*stages[0], prompt, options)->token_ids == greedy->token_ids);
  const TokenId stop = greedy->token_ids[3];
  options.end_tokens = {&stop, 1};
  const auto stopped = generate(*stages[0], prompt, options);
  REQUIRE(stopped->ended);
  REQUIRE(stopped->token_ids.back() == stop);
  options.end_tokens = {};
  options.sampling = {0.8f, 0.9f, 42};
  const auto seeded = generate(*stages[0], prompt, options);
  options.prompt_chunk = 5;
  REQUIRE(generate(*stages[0], prompt, options)->token_ids == seeded->token_ids);
  REQUIRE(generate(*stages[0], {}, options).code() == Code::kInvalidArgument);
}
