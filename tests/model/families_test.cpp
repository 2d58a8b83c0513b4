#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include <catch2/catch.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/files/safetensors.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/tests/model/files/read_tensor.h>
#include <troupe/tests/model/transformer/memory_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

const std::string kTiny = TROUPE_TEST_DATA "/golden/tiny/";
// The folders of golden/tiny that are decoders, and the family of each.
const std::vector<std::pair<std::string, std::string>> kDecoders{
    {"llama", "llama"},
    {"mistral", "mistral"},
    {"qwen2", "qwen2"},
    {"qwen3", "qwen3"},
    {"gpt2", "gpt2"},
    {"gemma2", "gemma2"},
    {"gemma3", "gemma3"},
    {"phi3", "phi3"},
    {"phi3_long", "phi3"},
    {"olmo2", "olmo2"},
    {"smollm3", "smollm3"},
    {"granite", "granite"},
    {"glm4", "glm4"},
    {"llama_biased", "llama"},
    {"qwen3_yarn", "qwen3"},
    {"mixtral", "mixtral"},
    {"qwen2_moe", "qwen2moe"},
    {"qwen3_moe", "qwen3moe"},
    {"qwen2_moe_dense", "qwen2moe"},
    {"qwen3_moe_dense", "qwen3moe"},
    {"gpt_oss", "gpt-oss"},
};

struct Tiny {
  explicit Tiny(const std::string& family) : Tiny(family, family) {}
  Tiny(const std::string& folder, const std::string& family)
      : expected(*Safetensors::open_file(kTiny + folder + "/expected.safetensors")) {
    auto opened = open_model(kTiny + folder);
    INFO(opened.message());
    REQUIRE(opened.is_ok());
    source = std::move(*opened);
    auto read_config = config_from_gguf(source->header());
    INFO(read_config.message());
    REQUIRE(read_config.is_ok());
    config = *read_config;
    REQUIRE(config.family == family);
    for (const std::int64_t id : read_tensor<std::int64_t>(expected, "input_ids"))
      ids.push_back(static_cast<TokenId>(id));
    logits = read_tensor<float>(expected, "logits");
  }
  std::vector<TokenId> row(std::size_t index) const {
    return {ids.begin() + static_cast<std::ptrdiff_t>(index * 12),
            ids.begin() + static_cast<std::ptrdiff_t>((index + 1) * 12)};
  }
  std::vector<std::unique_ptr<Stage>> load(Device& device, std::vector<LayerRange> ranges,
                                           const StageOptions& options = {}) const {
    std::vector<std::unique_ptr<Stage>> stages;
    for (const LayerRange range : ranges)
      stages.push_back(load_stage(*source, config, range, device, options));
    return stages;
  }

  Safetensors expected;
  std::unique_ptr<WholeModel> source;
  ModelConfig config;
  std::vector<TokenId> ids;   // (2, 12)
  std::vector<float> logits;  // decoders (2, 12, V), BERT (2, L)
};

double largest(const std::vector<float>& values) {
  double most = 0;
  for (const float value : values) most = std::max<double>(most, std::abs(value));
  return most;
}

double worst_difference(const std::vector<float>& a, const float* b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max<double>(worst, std::abs(a[i] - b[i]));
  return worst;
}

// Returns the logits of whole sequences in one step, computed by an encoder cut into stages.
std::vector<float> classify(const std::vector<std::unique_ptr<Stage>>& stages,
                            const std::vector<std::vector<TokenId>>& texts,
                            std::span<const std::uint8_t> token_types = {}) {
  StepOutput output;
  for (const auto& stage : stages) {
    std::vector<std::unique_ptr<KvSequence>> sequences;
    std::vector<Segment> segments;
    std::vector<TokenId> ids;
    for (const auto& text : texts) {
      sequences.push_back(stage->new_sequence());
      segments.push_back({sequences.back().get(), 0, text.size(), LogitRows::kLast});
      ids.insert(ids.end(), text.begin(), text.end());
    }
    const std::vector<float> hidden = std::move(output.hidden);
    const Status status = stage->forward({segments, ids, hidden, token_types}, &output);
    INFO(status.message());
    REQUIRE(status.is_ok());
  }
  return output.logits;
}

// Returns the texts of the recorded BERT input, without their padding.
std::vector<std::vector<TokenId>> bert_texts(const Tiny& tiny) {
  const auto mask = read_tensor<std::int64_t>(tiny.expected, "attention_mask");
  std::vector<std::vector<TokenId>> texts{tiny.row(0), tiny.row(1)};
  for (std::size_t row = 0; row < 2; ++row)
    texts[row].resize(static_cast<std::size_t>(
        std::count(mask.begin() + static_cast<std::ptrdiff_t>(row * 12),
                   mask.begin() + static_cast<std::ptrdiff_t>((row + 1) * 12), 1)));
  return texts;
}

}  // namespace

// The tolerance of 2e-5 is for f32 sums in another order than PyTorch's, whose logits are near 8 at
// most in nearly all of these models.
TEST_CASE("tiny decoders of every family give PyTorch's logits and loss") {
  for (const auto& [folder, family] : kDecoders) {
    const Tiny tiny(folder, family);
    const std::size_t V = tiny.config.vocabulary;
    REQUIRE(tiny.logits.size() == 2 * 12 * V);
    const double tolerance = 2e-5 * std::max(1.0, largest(tiny.logits) / 8);
    const std::vector<LayerRange> whole{{0, tiny.config.layers}};
    CHECK(default_kv_type(tiny.source->header()) == kernels::KvType::kF32);
    for (const auto isa : isas()) {
      INFO(folder << " " << kernels::isa_name(isa));
      const auto device = make_device(2, isa);
      const auto stages = tiny.load(*device, whole);
      double loss = 0;
      for (std::size_t row = 0; row < 2; ++row) {
        const auto ids = tiny.row(row);
        const auto ours = all_logits(stages, ids, 12);
        REQUIRE(ours.size() == 12 * V);
        CHECK(worst_difference(ours, &tiny.logits[row * 12 * V]) < tolerance);
        for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
          double sum = 0;
          for (std::size_t v = 0; v < V; ++v) sum += std::exp(ours[i * V + v]);
          loss += (std::log(sum) - ours[i * V + static_cast<std::size_t>(ids[i + 1])]) / 22;
        }
      }
      if (tiny.expected.find("loss") != nullptr)
        CHECK(loss == Approx(read_tensor<float>(tiny.expected, "loss")[0]).epsilon(1e-6));
      // With a cache in half precision, the logits are close, but not equal.
      const auto f16 = tiny.load(*device, whole, {kernels::KvType::kF16, 0});
      const auto near = all_logits(f16, tiny.row(0), 12);
      CHECK(worst_difference(near, tiny.logits.data()) <
            3e-3 * std::max(1.0, largest(tiny.logits)));
      CHECK(near != all_logits(stages, tiny.row(0), 12));
    }
  }
}

TEST_CASE("a tiny BERT gives PyTorch's logits") {
  const Tiny tiny("bert");
  REQUIRE(tiny.config.outputs() == 2);
  const auto texts = bert_texts(tiny);
  for (const auto isa : isas()) {
    INFO(kernels::isa_name(isa));
    const auto device = make_device(2, isa);
    const auto stages = tiny.load(*device, {{0, 2}});
    const auto ours = classify(stages, texts);
    REQUIRE(ours.size() == 4);
    CHECK(worst_difference(ours, tiny.logits.data()) < 2e-5);
    // Without token types all are 0; others change the result.
    const std::size_t rows = texts[0].size() + texts[1].size();
    CHECK(classify(stages, texts, std::vector<std::uint8_t>(rows, 0)) == ours);
    CHECK(classify(stages, texts, std::vector<std::uint8_t>(rows, 1)) != ours);
  }
}

TEST_CASE("bits of every family do not depend on threads, chunks, targets or stages") {
  for (const auto& [folder, family] : kDecoders) {
    const Tiny tiny(folder, family);
    const std::size_t layers = tiny.config.layers, middle = layers / 2;
    // Take all of the context.
    const auto ids = random_ids(tiny.config.context_max, tiny.config.vocabulary, 5);
    const auto one = make_device(1, kernels::Isa::kScalar);
    const auto expected = all_logits(tiny.load(*one, {{0, layers}}), ids, ids.size());
    for (const auto isa : isas())
      for (const int threads : {1, 2, 3, 7}) {
        const auto device = make_device(threads, isa);
        for (const auto& ranges : {std::vector<LayerRange>{{0, layers}},
                                   std::vector<LayerRange>{{0, middle}, {middle, layers}},
                                   std::vector<LayerRange>{{0, 1}, {1, 2}, {2, layers}}})
          for (const std::size_t chunk : {1, 7, 64}) {
            if (ranges.back().begin == layers) continue;  // too few layers for three stages
            INFO(folder << " " << kernels::isa_name(isa) << " threads " << threads << " chunk "
                        << chunk << " stages " << ranges.size());
            REQUIRE(all_logits(tiny.load(*device, ranges), ids, chunk) == expected);
          }
      }
  }
}

TEST_CASE("bits of an encoder do not depend on threads, company, targets or stages") {
  const Tiny tiny("bert");
  std::vector<std::vector<TokenId>> texts;
  for (const std::size_t count : {1, 64, 3, 30, 17, 64, 2})
    texts.push_back(random_ids(count, 128, static_cast<unsigned>(count)));
  const auto one = make_device(1, kernels::Isa::kScalar);
  const auto stages = tiny.load(*one, {{0, 2}});
  std::vector<float> expected;
  for (const auto& text : texts) {
    const auto alone = classify(stages, {text});
    expected.insert(expected.end(), alone.begin(), alone.end());
  }
  for (const auto isa : isas())
    for (const int threads : {1, 2, 3, 7}) {
      INFO(kernels::isa_name(isa) << " threads " << threads);
      const auto device = make_device(threads, isa);
      REQUIRE(classify(tiny.load(*device, {{0, 2}}), texts) == expected);
      const auto cut = tiny.load(*device, {{0, 1}, {1, 2}});
      REQUIRE(classify(cut, texts) == expected);
      REQUIRE(classify(cut, {texts[2]}) == std::vector<float>{expected[4], expected[5]});
    }
}

TEST_CASE("an encoder refuses what it cannot read") {
  const Tiny tiny("bert");
  const auto device = make_device(1);
  const auto stage = load_stage(*tiny.source, tiny.config, {0, 2}, *device);
  const auto sequence = stage->new_sequence();
  const std::vector<TokenId> ids(65, 3);
  StepOutput output;
  const auto step = [&](std::size_t position, std::size_t count,
                        std::span<const std::uint8_t> types) {
    const Segment segment{sequence.get(), position, count, LogitRows::kLast};
    return stage->forward({{&segment, 1}, std::span(ids).first(count), {}, types}, &output);
  };
  CHECK_THAT(step(0, 65, {}).message(), Contains("context of 64"));
  const std::uint8_t types[] = {0, 1, 2};
  CHECK_THAT(step(0, 3, types).message(), Contains("token type 2"));
  CHECK_THAT(step(0, 2, types).message(), Contains("3 token types"));
  REQUIRE(step(0, 2, std::span(types).first(2)).is_ok());
  CHECK_THAT(step(2, 1, {}).message(), Contains("in one piece"));
}

// The same weights in the form of a GGUF file: transposed back, and in one piece.
TEST_CASE("GPT-2 from GGUF's order of weights gives the same bits as from a folder") {
  const Tiny tiny("gpt2");
  MemorySource gguf;
  gguf.header_.metadata = tiny.source->header().metadata;
  gguf.header_.metadata.erase("troupe.transposed");
  for (const TensorInfo& tensor : tiny.source->header().tensors) {
    const auto bytes = *tiny.source->bytes(tensor.name);
    std::vector<float> values(bytes.size() / 4), turned(values.size());
    std::memcpy(values.data(), bytes.data(), bytes.size());
    auto shape = tensor.shape;
    const bool is_weight = tensor.name.starts_with("blk.") && shape.size() == 2;
    if (is_weight) {
      for (std::size_t r = 0; r < shape[0]; ++r)
        for (std::size_t c = 0; c < shape[1]; ++c)
          turned[c * shape[0] + r] = values[r * shape[1] + c];
      std::swap(shape[0], shape[1]);
    }
    gguf.add(tensor.name, quant::Type::kF32, shape, bytes_of(is_weight ? turned : values));
  }
  const auto device = make_device(2);
  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(load_stage(gguf, *config_from_gguf(gguf.header()), {0, 2}, *device));
  REQUIRE(all_logits(stages, tiny.row(0), 12) ==
          all_logits(tiny.load(*device, {{0, 2}}), tiny.row(0), 12));
}

// llama.cpp's converter made the files of the same weights (make_tiny_gguf.py). In some families,
// its order of the rows of q and k differs, and so do the sums that follow from it.
TEST_CASE("tiny decoders from GGUF files give PyTorch's logits") {
  for (const char* name :
       {"gemma2", "gemma3", "phi3", "phi3_long", "olmo2", "smollm3", "granite", "glm4",
        "llama_biased", "mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss"}) {
    INFO(name);
    const auto source =
        open_model(TROUPE_TEST_DATA "/golden/tiny_gguf/" + std::string(name) + ".gguf");
    INFO(source.message());
    REQUIRE(source.is_ok());
    const auto config = config_from_gguf((*source)->header());
    INFO(config.message());
    REQUIRE(config.is_ok());
    const auto expected = Safetensors::open_file(kTiny + name + "/expected.safetensors");
    REQUIRE(expected.is_ok());
    const auto logits = read_tensor<float>(*expected, "logits");
    const auto ids = read_tensor<std::int64_t>(*expected, "input_ids");
    const std::size_t count = 12 * config->vocabulary, layers = config->layers;
    std::vector<float> first;
    for (const auto isa : isas())
      for (const std::size_t chunk : {1, 12}) {
        INFO(kernels::isa_name(isa) << " chunk " << chunk);
        const auto device = make_device(chunk == 1 ? 1 : 3, isa);
        std::vector<std::unique_ptr<Stage>> stages;
        stages.push_back(load_stage(**source, *config, {0, layers / 2}, *device));
        stages.push_back(load_stage(**source, *config, {layers / 2, layers}, *device));
        for (std::size_t row = 0; row < 2; ++row) {
          const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(row * 12);
          const auto ours = all_logits(stages, {begin, begin + 12}, chunk);
          REQUIRE(ours.size() == count);
          CHECK(worst_difference(ours, &logits[row * count]) <
                2e-5 * std::max(1.0, largest(logits) / 8));
          if (row > 0) continue;
          if (first.empty()) first = ours;
          CHECK(ours == first);
        }
      }
  }
}

// GGUF files hold the matrices of all experts of a layer in one tensor.
TEST_CASE("experts that are stacked give the same bits as experts in tensors of their own") {
  for (const auto& [folder, family] :
       {std::pair{"qwen2_moe", "qwen2moe"}, {"qwen3_moe", "qwen3moe"}, {"mixtral", "mixtral"}}) {
    const Tiny tiny(folder, family);
    MemorySource gguf;
    gguf.header_.metadata = tiny.source->header().metadata;
    std::map<std::string, std::vector<const TensorInfo*>> stacks;
    for (const TensorInfo& tensor : tiny.source->header().tensors) {
      const std::size_t dot = tensor.name.rfind('.', tensor.name.size() - 8);
      const std::string part = tensor.name.substr(dot + 1);
      if (part.find_first_not_of("0123456789") == part.find('.')) {
        stacks[tensor.name.substr(0, dot) + "_exps.weight"].push_back(&tensor);
      } else {
        const auto bytes = *tiny.source->bytes(tensor.name);
        gguf.add(tensor.name, tensor.type, tensor.shape, {bytes.begin(), bytes.end()});
      }
    }
    REQUIRE(stacks.size() == 3 * tiny.config.layers);
    for (const auto& [name, parts] : stacks) {
      std::vector<std::byte> all;
      for (const TensorInfo* part : parts) {
        const auto bytes = *tiny.source->bytes(part->name);
        all.insert(all.end(), bytes.begin(), bytes.end());
      }
      const auto& shape = parts[0]->shape;
      gguf.add(name, quant::Type::kF32, {tiny.config.experts, shape[0], shape[1]}, all);
    }
    const auto config = *config_from_gguf(gguf.header());
    REQUIRE_FALSE(config.experts_apart);
    REQUIRE(config.experts == stacks.begin()->second.size());
    const auto device = make_device(2);
    std::vector<std::unique_ptr<Stage>> stages;
    stages.push_back(load_stage(gguf, config, {0, config.layers}, *device));
    CHECK(all_logits(stages, tiny.row(0), 12) ==
          all_logits(tiny.load(*device, {{0, config.layers}}), tiny.row(0), 12));
  }
}

// GGUF's llama files have the rows of q and k in an order in which the rotated pairs are
// neighbours.
TEST_CASE("interleaved rows and rows half a head apart are the same model") {
  const Tiny tiny("llama");
  MemorySource gguf;
  gguf.header_.metadata = tiny.source->header().metadata;
  gguf.header_.metadata.erase("troupe.rope.interleaved");
  for (const TensorInfo& tensor : tiny.source->header().tensors) {
    const auto bytes = *tiny.source->bytes(tensor.name);
    std::vector<float> values(bytes.size() / 4), moved(values.size());
    std::memcpy(values.data(), bytes.data(), bytes.size());
    moved = values;
    if (tensor.name.ends_with("attn_q.weight") || tensor.name.ends_with("attn_k.weight"))
      for (std::size_t row = 0; row < tensor.shape[0]; ++row) {
        const std::size_t head = row / 16 * 16, i = row % 16;
        const std::size_t from = head + i / 2 + i % 2 * 8;
        std::copy_n(&values[from * 64], 64, &moved[row * 64]);
      }
    gguf.add(tensor.name, quant::Type::kF32, tensor.shape, bytes_of(moved));
  }
  const auto config = *config_from_gguf(gguf.header());
  REQUIRE(config.rope_interleaved);
  REQUIRE_FALSE(tiny.config.rope_interleaved);
  const auto device = make_device(2);
  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(load_stage(gguf, config, {0, 2}, *device));
  // Dot products of rotated heads add the same pairs in another order.
  CHECK(worst_difference(all_logits(stages, tiny.row(0), 12), tiny.logits.data()) < 2e-5);
}

TEST_CASE("a window begins in the layer that the model says") {
  const Tiny tiny("mistral");
  const auto device = make_device(2);
  const auto ids = random_ids(40, 128, 9);
  const auto logits_with = [&](std::size_t window, std::size_t begin, std::vector<LayerRange> r) {
    ModelConfig config = tiny.config;
    config.window = window;
    config.window_begin = begin;
    std::vector<std::unique_ptr<Stage>> stages;
    for (const LayerRange range : r)
      stages.push_back(load_stage(*tiny.source, config, range, *device));
    return all_logits(stages, ids, 40);
  };
  REQUIRE(tiny.config.window == 6);
  const auto everywhere = logits_with(6, 0, {{0, 2}});
  const auto upper = logits_with(6, 1, {{0, 2}});
  const auto nowhere = logits_with(0, 0, {{0, 2}});
  CHECK(everywhere != upper);
  CHECK(upper != nowhere);
  CHECK(logits_with(6, 2, {{0, 2}}) == nowhere);
  CHECK(logits_with(40, 0, {{0, 2}}) == nowhere);
  CHECK(logits_with(6, 1, {{0, 1}, {1, 2}}) == upper);  // layers count from the model's first
}
