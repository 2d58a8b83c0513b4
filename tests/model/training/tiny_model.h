#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/files/safetensors.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/training/network.h>
#include <troupe/model/training/trainer.h>
#include <troupe/tests/model/files/read_tensor.h>

// The recorded tiny models of tests/data/golden, and examples made of their inputs.

namespace troupe::model::test {

// Makes an example in which every position but the last predicts the next token.
inline Example next_token_example(std::vector<TokenId> ids) {
  Example example;
  example.targets.assign(ids.begin() + 1, ids.end());
  example.targets.push_back(kNoTarget);
  example.ids = std::move(ids);
  return example;
}

struct TinyModel {
  explicit TinyModel(const std::string& family)
      : folder(TROUPE_TEST_DATA "/golden/tiny/" + family),
        expected(*Safetensors::open_file(folder + "/expected.safetensors")) {
    auto opened = open_model(folder);
    REQUIRE(opened.is_ok());
    source = std::move(*opened);
    auto read = config_from_gguf(source->header());
    REQUIRE(read.is_ok());
    config = *read;
  }

  std::unique_ptr<Network> network(Device& device, const NetworkOptions& options = {}) const {
    auto weights = load_weights(*source, config, {0, config.layers}, device.pool(), {});
    REQUIRE(weights.is_ok());
    return std::make_unique<Network>(config, std::move(*weights), device, options);
  }

  // Returns the two recorded rows, without padding.
  std::vector<Example> batch() const {
    const auto ids = read_tensor<std::int64_t>(expected, "input_ids");
    std::vector<std::int64_t> mask(ids.size(), 1), labels(2, 0);
    if (!config.causal) {
      mask = read_tensor<std::int64_t>(expected, "attention_mask");
      labels = read_tensor<std::int64_t>(expected, "labels");
    }
    std::vector<Example> batch;
    for (std::size_t row = 0; row < 2; ++row) {
      std::vector<TokenId> own;
      for (std::size_t i = row * 12; i < (row + 1) * 12; ++i)
        if (mask[i] != 0) own.push_back(static_cast<TokenId>(ids[i]));
      Example example = config.causal ? next_token_example(std::move(own)) : Example{};
      if (!config.causal) example.ids = std::move(own);
      example.label = static_cast<std::size_t>(labels[row]);
      batch.push_back(std::move(example));
    }
    return batch;
  }

  std::string folder;
  Safetensors expected;
  std::unique_ptr<WholeModel> source;
  ModelConfig config;
};

inline std::unique_ptr<Device> training_device(int threads, std::optional<kernels::Isa> isa = {}) {
  DeviceOptions options;
  options.threads = threads;
  options.pin = false;
  options.isa = isa;
  auto device = Device::create(options);
  REQUIRE(device.is_ok());
  return std::move(*device);
}

inline std::unique_ptr<Trainer> trainer_of(const TinyModel& tiny, Device& device,
                                           const TrainerOptions& options = {}) {
  auto trainer = Trainer::create(*tiny.source, tiny.config, device, options);
  INFO(trainer.message());
  REQUIRE(trainer.is_ok());
  return std::move(*trainer);
}

}  // namespace troupe::model::test
