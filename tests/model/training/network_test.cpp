#include <cmath>
#include <cstdint>

#include <catch2/catch.hpp>

#include <troupe/model/local/evaluate.h>
#include <troupe/model/training/hf_tensors.h>
#include <troupe/model/training/network.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/tests/model/training/tiny_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

namespace {

const std::vector<std::string> kFamilies{"llama", "mistral", "qwen2", "qwen3", "gpt2", "bert"};

// |a - b| / |b|
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    norm += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference) / std::max(1e-30, std::sqrt(norm));
}

std::vector<kernels::Isa> supported_isas() {
  std::vector<kernels::Isa> isas{kernels::Isa::kScalar};
  for (const kernels::Isa isa : {kernels::Isa::kAvx2, kernels::Isa::kAvx512})
    if (kernels::isa_supported(isa)) isas.push_back(isa);
  return isas;
}

// Returns all gradients of a batch, one after the other, in the file's order.
std::vector<float> all_gradients(Network& network, const std::vector<Example>& batch,
                                 double* loss) {
  *loss = network.gradients(batch).loss;
  std::vector<float> all;
  for (const HfTensor& tensor : hf_tensors(network.config(), network.parameters())) {
    const auto values =
        hf_values(tensor, [](const Parameter& one) { return one.gradient_values(); });
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

// Examples of lengths 1 to 63 with random ids.
std::vector<Example> random_batch(const ModelConfig& config, std::size_t count) {
  std::vector<Example> batch;
  std::uint32_t state = 12345;
  const auto next = [&](std::size_t bound) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % bound;
  };
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<TokenId> ids(3 + next(60));
    for (TokenId& id : ids) id = static_cast<TokenId>(next(config.vocabulary));
    Example example = config.causal ? next_token_example(std::move(ids)) : Example{};
    if (!config.causal) example.ids = std::move(ids);
    if (!config.causal) example.label = next(config.labels);
    batch.push_back(std::move(example));
  }
  return batch;
}

}  // namespace

TEST_CASE("the loss and every gradient of the tiny models are the recorded ones") {
  const auto device = training_device(2);
  for (const std::string& family : kFamilies) {
    INFO(family);
    const TinyModel tiny(family);
    const auto network = tiny.network(*device);
    const auto batch = tiny.batch();
    REQUIRE(network->check(batch).is_ok());
    const BatchSums sums = network->gradients(batch);
    REQUIRE(sums.targets == (tiny.config.causal ? 22 : 2));
    const auto targets = static_cast<double>(sums.targets);
    CHECK(sums.loss / targets ==
          Approx(read_tensor<float>(tiny.expected, "loss")[0]).epsilon(1e-5));
    std::size_t compared = 0;
    for (const HfTensor& tensor : hf_tensors(tiny.config, network->parameters())) {
      INFO(tensor.name);
      auto gradient = hf_values(tensor, [](const Parameter& one) { return one.gradient_values(); });
      for (float& value : gradient) value /= static_cast<float>(targets);
      const auto expected = read_tensor<float>(tiny.expected, "grad." + tensor.name);
      REQUIRE(gradient.size() == expected.size());
      // Without rotation, a bias of keys does not affect the softmax, so its gradient is only
      // rounding.
      if (tensor.name.find("key.bias") != tensor.name.npos) {
        for (const float value : gradient) CHECK(std::abs(value) < 1e-6f);
        for (const float value : expected) CHECK(std::abs(value) < 1e-6f);
      } else {
        CHECK(relative_error(gradient, expected) < 1e-3);
      }
      ++compared;
    }
    std::size_t recorded = 0;
    for (const SafetensorsTensor& tensor : tiny.expected.tensors())
      recorded += tensor.name.starts_with("grad.") ? 1 : 0;
    CHECK(compared == recorded);
  }
}

TEST_CASE("gradients have the same bits for every grouping, thread count and target") {
  for (const std::string& family : kFamilies) {
    const TinyModel tiny(family);
    const auto batch = random_batch(tiny.config, 9);
    std::vector<float> expected;
    double expected_loss = 0;
    const auto compare = [&](int threads, kernels::Isa isa, NetworkOptions options) {
      INFO(family << ", " << threads << " threads, " << kernels::isa_name(isa)
                  << ", micro-batches of " << options.micro_batch);
      const auto device = training_device(threads, isa);
      const auto network = tiny.network(*device, options);
      double loss = 0;
      const auto gradients = all_gradients(*network, batch, &loss);
      if (expected.empty()) {
        expected = gradients;
        expected_loss = loss;
      }
      REQUIRE(loss == expected_loss);
      REQUIRE(std::memcmp(gradients.data(), expected.data(), gradients.size() * sizeof(float)) ==
              0);
    };
    const kernels::Isa best = supported_isas().back();
    compare(1, best, {});
    for (const std::size_t micro_batch : {1, 2, 3, 4, 8}) compare(2, best, {micro_batch, false});
    compare(3, best, {2, true});
    compare(4, best, {});
    for (const kernels::Isa isa : supported_isas()) compare(2, isa, {4, false});
  }
}

TEST_CASE("training computes the logits of inference, bit for bit") {
  const auto device = training_device(2);
  for (const std::string& family : kFamilies) {
    INFO(family);
    const TinyModel tiny(family);
    const auto network = tiny.network(*device);
    StageOptions options;
    options.kv_type = kernels::KvType::kF32;
    auto stage = Stage::load(*tiny.source, tiny.config, {0, tiny.config.layers}, *device, options);
    REQUIRE(stage.is_ok());
    for (Example example : random_batch(tiny.config, 3)) {
      for (TokenId& target : example.targets) target = 0;  // every row has logits
      const auto expected = sequence_logits(**stage, example.ids, {}, 64);
      REQUIRE(expected.is_ok());
      const auto logits = network->logits({&example, 1});
      REQUIRE(logits.size() == expected->size());
      REQUIRE(std::memcmp(logits.data(), expected->data(), logits.size() * sizeof(float)) == 0);
    }
  }
}
