#pragma once

#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/transformer/stage.h>
#include <troupe/runtime/numerics/half.h>

// Tiny random models in memory for tests, of any size and weight format.

namespace troupe::model::test {

class MemorySource final : public TensorSource {
 public:
  const GgufHeader& header() const override { return header_; }
  Result<std::span<const std::byte>> bytes(std::string_view tensor) const override {
    const auto found = bytes_.find(std::string(tensor));
    if (found == bytes_.end()) return Status(Code::kNotFound, std::string(tensor));
    return std::span<const std::byte>(found->second);
  }
  std::string where(std::string_view) const override { return "memory"; }
  void drop(std::string_view) const override {}

  void add(const std::string& name, quant::Type type, std::vector<std::uint64_t> shape,
           std::vector<std::byte> bytes) {
    header_.tensors.push_back({name, type, std::move(shape), 0, bytes.size()});
    bytes_[name] = std::move(bytes);
  }
  GgufHeader header_;
  std::map<std::string, std::vector<std::byte>> bytes_;
};

struct Model {
  ModelConfig config;
  MemorySource source;
};

inline std::vector<std::byte> bytes_of(const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// Makes random blocks with scales that keep a layer's outputs near its inputs. It uses integers and
// exact arithmetic only, so every machine makes the same model.
inline std::vector<std::byte> random_tensor(quant::Type type, std::uint64_t elements,
                                            std::mt19937& random) {
  const auto small = [&] { return static_cast<float>(static_cast<int>(random() % 255) - 127); };
  if (type == quant::Type::kF32) {
    std::vector<float> values(elements);
    for (float& value : values) value = small() / 1024.0f;
    return bytes_of(values);
  }
  const quant::Format& format = *quant::find(type);
  std::vector<std::byte> bytes(elements / format.block_elements * format.block_bytes);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  const auto put_f16 = [&](std::size_t at, float value) {
    const std::uint16_t bits = f32_to_f16(value);
    std::memcpy(bytes.data() + at, &bits, 2);
  };
  for (std::size_t at = 0; at < bytes.size(); at += format.block_bytes) {
    const float scale = (64.0f + static_cast<float>(random() % 64)) / 1024.0f;
    switch (type) {
      case quant::Type::kF16:
        put_f16(at, small() / 1024);
        break;
      case quant::Type::kBF16: {
        const float value = small() / 1024;
        std::memcpy(bytes.data() + at, reinterpret_cast<const std::byte*>(&value) + 2, 2);
        break;
      }
      case quant::Type::kQ8_0:
      case quant::Type::kIQ4_NL:
        put_f16(at, scale / 128.0f);
        break;
      case quant::Type::kMXFP4:  // 12 times 2^-7 is the largest weight
        bytes[at] = static_cast<std::byte>(121 - random() % 3);
        break;
      case quant::Type::kQ6_K:
        put_f16(at + 208, scale / 4096.0f);
        break;
      case quant::Type::kIQ4_XS:
        put_f16(at, scale / 4096.0f);
        break;
      case quant::Type::kQ3_K:
        put_f16(at + 108, scale / 128.0f);
        break;
      case quant::Type::kQ2_K:  // offsets take away what the quants have on average
        put_f16(at + 80, scale / 32.0f);
        put_f16(at + 82, scale * 1.5f / 32.0f);
        break;
      case quant::Type::kQ4_K:
      case quant::Type::kQ5_K:  // scales and offsets are 32 in the middle
        put_f16(at, scale / (type == quant::Type::kQ4_K ? 256.0f : 512.0f));
        put_f16(at + 2, scale / 32.0f);
        break;
      default:
        put_f16(at, scale / (format.name.starts_with("Q4") ? 8.0f : 16.0f));
        if (format.has_m) put_f16(at + 2, -scale);
    }
  }
  return bytes;
}

// Makes every tensor of a Llama of this shape, with the biases that `config` asks for. ffn_down may
// have a type of its own. Norms are near 1, biases near 0.
inline Model random_model(const ModelConfig& config, quant::Type layers, quant::Type ends,
                          unsigned seed = 1, std::optional<quant::Type> down = std::nullopt) {
  Model model{config, {}};
  std::mt19937 random(seed);
  const std::uint64_t C = config.channels, F = config.ffn_channels, V = config.vocabulary;
  const std::uint64_t Q = config.heads * config.head_dim, K = config.kv_heads * config.head_dim;
  const auto matrix = [&](const std::string& name, quant::Type type, std::uint64_t rows,
                          std::uint64_t columns) {
    model.source.add(name, type, {rows, columns}, random_tensor(type, rows * columns, random));
  };
  const auto norm = [&](const std::string& name, std::uint64_t width) {
    std::vector<float> weight(width);
    for (float& w : weight) w = 1.0f + static_cast<float>(random() % 256) / 1024.0f;
    model.source.add(name, quant::Type::kF32, {width}, bytes_of(weight));
  };
  const auto linear = [&](const std::string& name, quant::Type type, std::uint64_t rows,
                          std::uint64_t columns, bool bias) {
    matrix(name + ".weight", type, rows, columns);
    if (bias)
      model.source.add(name + ".bias", quant::Type::kF32, {rows},
                       random_tensor(quant::Type::kF32, rows, random));
  };
  matrix("token_embd.weight", ends, V, C);
  for (std::size_t layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    norm(prefix + "attn_norm.weight", C);
    if (config.head_norm) {
      norm(prefix + "attn_q_norm.weight", config.head_dim);
      norm(prefix + "attn_k_norm.weight", config.head_dim);
    }
    linear(prefix + "attn_q", layers, Q, C, config.qkv_bias);
    linear(prefix + "attn_k", layers, K, C, config.qkv_bias);
    linear(prefix + "attn_v", layers, K, C, config.qkv_bias);
    linear(prefix + "attn_output", layers, C, Q, config.attn_output_bias);
    norm(prefix + "ffn_norm.weight", C);
    linear(prefix + "ffn_gate", layers, F, C, config.ffn_bias);
    linear(prefix + "ffn_up", layers, F, C, config.ffn_bias);
    linear(prefix + "ffn_down", down.value_or(layers), C, F, config.ffn_bias);
  }
  norm("output_norm.weight", C);
  if (!config.tied_embedding) matrix("output.weight", ends, V, C);
  return model;
}

// Returns sizes at which groups of 16 rows, blocks of 32 and threads do not divide evenly.
inline ModelConfig odd_config(bool tied = true) {
  ModelConfig config;
  config.family = "llama";
  config.layers = 5;
  config.channels = 96;
  config.ffn_channels = 160;
  config.heads = 6;
  config.kv_heads = 2;
  config.head_dim = 16;
  config.rotary_dim = 16;
  config.vocabulary = 201;
  config.context_max = 1024;
  config.tied_embedding = tied;
  return config;
}

inline std::unique_ptr<Device> make_device(int threads,
                                           std::optional<kernels::Isa> isa = std::nullopt) {
  auto device = Device::create({threads, false, isa});
  INFO(device.message());
  REQUIRE(device.is_ok());
  return std::move(*device);
}

inline std::unique_ptr<Stage> load_stage(const TensorSource& source, const ModelConfig& config,
                                         LayerRange range, Device& device,
                                         const StageOptions& options = {}) {
  auto stage = Stage::load(source, config, range, device, options);
  INFO(stage.message());
  REQUIRE(stage.is_ok());
  return std::move(*stage);
}

// Returns the logits of every position of `ids`, fed in chunks through the stages in order.
inline std::vector<float> all_logits(const std::vector<std::unique_ptr<Stage>>& stages,
                                     const std::vector<TokenId>& ids, std::size_t chunk) {
  std::vector<std::unique_ptr<KvSequence>> sequences;
  for (const auto& stage : stages) sequences.push_back(stage->new_sequence());
  std::vector<float> logits;
  for (std::size_t begin = 0; begin < ids.size(); begin += chunk) {
    const std::size_t count = std::min(chunk, ids.size() - begin);
    StepOutput output;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      const std::vector<float> hidden = std::move(output.hidden);
      const Segment segment{sequences[i].get(), begin, count, LogitRows::kAll};
      const Status status = stages[i]->forward(
          {{&segment, 1}, std::span(ids).subspan(begin, count), hidden}, &output);
      INFO(status.message());
      REQUIRE(status.is_ok());
    }
    logits.insert(logits.end(), output.logits.begin(), output.logits.end());
  }
  return logits;
}

inline std::vector<TokenId> random_ids(std::size_t count, std::size_t vocabulary, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> ids(count);
  for (TokenId& id : ids) id = static_cast<TokenId>(random() % vocabulary);
  return ids;
}

// Returns the targets that this machine can run, slowest first. Threads share the same memory on
// each of them, so under ThreadSanitizer it returns only the fastest.
inline std::vector<kernels::Isa> isas() {
  std::vector<kernels::Isa> found;
  for (const auto isa : {kernels::Isa::kScalar, kernels::Isa::kAvx2, kernels::Isa::kAvx512})
    if (kernels::isa_supported(isa)) found.push_back(isa);
#ifdef __SANITIZE_THREAD__
  found.erase(found.begin(), found.end() - 1);
#endif
  return found;
}

}  // namespace troupe::model::test
