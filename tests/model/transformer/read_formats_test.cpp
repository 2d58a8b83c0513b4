#include <algorithm>
#include <cmath>
#include <cstring>

#include <catch2/catch.hpp>

#include <troupe/model/files/safetensors.h>
#include <troupe/model/transformer/weights.h>
#include <troupe/tests/model/transformer/memory_model.h>

// Tests stages whose files have formats that are read into others.

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;

namespace {

ModelConfig config_of_256() {
  ModelConfig config = odd_config(false);
  config.layers = 2;
  config.channels = 64;
  config.ffn_channels = 256;
  return config;
}

// Replaces the matrices ffn_down by recorded blocks of a format, or by their values.
Model with_blocks(const Safetensors& golden, const quant::Format& format, bool as_values) {
  const ModelConfig config = config_of_256();
  Model model = random_model(config, quant::Type::kF32, quant::Type::kF32);
  const auto blocks = golden.bytes(*golden.find(std::string(format.name) + ".bytes"));
  for (TensorInfo& tensor : model.source.header_.tensors) {
    if (!tensor.name.ends_with("ffn_down.weight")) continue;
    const std::size_t count = config.channels * config.ffn_channels / format.block_elements;
    std::vector<std::byte> bytes(count * format.block_bytes);
    for (std::size_t at = 0; at < bytes.size(); ++at) bytes[at] = blocks[at % blocks.size()];
    if (as_values) {
      std::vector<float> values(config.channels * config.ffn_channels);
      format.dequantize(bytes.data(), count, values.data());
      bytes = bytes_of(values);
    }
    tensor.type = as_values ? quant::Type::kF32 : format.type;
    tensor.bytes = bytes.size();
    model.source.bytes_[tensor.name] = bytes;
  }
  return model;
}

std::vector<std::unique_ptr<Stage>> stages_of(const Model& model, Device& device,
                                              std::size_t cut = 0) {
  const StageOptions options{kernels::KvType::kF32, 0};
  std::vector<std::unique_ptr<Stage>> stages;
  if (cut > 0) stages.push_back(load_stage(model.source, model.config, {0, cut}, device, options));
  stages.push_back(
      load_stage(model.source, model.config, {cut, model.config.layers}, device, options));
  return stages;
}

}  // namespace

TEST_CASE("formats that are read into others give nearly the logits of their values") {
  const auto golden = *Safetensors::open_file(TROUPE_TEST_DATA "/golden/file_formats.safetensors");
  const auto ids = random_ids(20, config_of_256().vocabulary, 3);
  for (const quant::Format& format : quant::file_formats()) {
    if (format.repack_scaled != nullptr) continue;
    INFO(format.name);
    const Model read = with_blocks(golden, format, false);
    const Model values = with_blocks(golden, format, true);
    const auto one = make_device(1, kernels::Isa::kScalar);
    const auto whole = stages_of(read, *one);
    const auto ours = all_logits(whole, ids, 20);
    const auto theirs = all_logits(stages_of(values, *one), ids, 20);
    double worst = 0, largest = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      worst = std::max<double>(worst, std::abs(ours[i] - theirs[i]));
      largest = std::max<double>(largest, std::abs(theirs[i]));
    }
    CHECK(worst < 5e-2 * std::max(1.0, largest));
    CHECK(worst > 0);

    const std::vector<FormatChange>& changes = whole[0]->weights().changes;
    REQUIRE(changes.size() == 1);
    const std::uint64_t elements = 2 * 64 * 256;
    CHECK(changes[0].file_bytes == elements / format.block_elements * format.block_bytes);
    CHECK(changes[0].bytes == elements / 32 * 34);
    CHECK((changes[0].error > 0) == (format.read_error > 0));
    const std::string text = changes_text(whole[0]->weights());
    CHECK_THAT(text, Contains(std::string(format.name) + " becomes Q8_0 in memory"));
    for (const int threads : {2, 3, 4}) {
      const auto device = make_device(threads);
      const auto stages = stages_of(read, *device);
      CHECK(all_logits(stages, ids, 7) == ours);
      CHECK(changes_text(stages[0]->weights()) == text);
      const auto cut = stages_of(read, *device, 1);
      CHECK(all_logits(cut, ids, 20) == ours);
      CHECK(cut[0]->weights().changes[0].bytes == elements / 32 * 34 / 2);
    }
  }
}

TEST_CASE("what a sibling has read into another format is not told again") {
  const auto golden = *Safetensors::open_file(TROUPE_TEST_DATA "/golden/file_formats.safetensors");
  const Model model = with_blocks(golden, *quant::find(quant::Type::kIQ2_S), false);
  const auto device = make_device(2);
  StageOptions options;
  options.siblings.push_back(load_stage(model.source, model.config, {0, 2}, *device));
  const auto same = load_stage(model.source, model.config, {0, 2}, *device, options);
  CHECK(same->weights().changes.empty());
  CHECK(changes_text(same->weights()).empty());
}
