#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/files/safetensors.h>
#include <troupe/model/source/hf_quantization.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/transformer/weights.h>
#include <troupe/tests/model/source/tiny_folder.h>
#include <troupe/tests/model/transformer/memory_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;
using nlohmann::json;

namespace {

// Rewrites the weights of a folder: `change` gets a tensor's name, its entry and its bytes, and may
// change them; a tensor whose name it clears is left out.
void rewrite(const Folder& folder,
             const std::function<void(std::string*, json*, std::string*)>& change) {
  const auto path = folder.path / "model.safetensors";
  const std::string file = *read_file(path, 1 << 22);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  json header = json::parse(file.substr(8, header_bytes)), changed;
  std::string data;
  for (auto& [key, entry] : header.items()) {
    if (key == "__metadata__") continue;
    const std::size_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    std::string name = key, bytes = file.substr(8 + header_bytes + begin, end - begin);
    change(&name, &entry, &bytes);
    if (name.empty()) continue;
    entry["data_offsets"] = {data.size(), data.size() + bytes.size()};
    changed[name] = entry;
    data += bytes;
  }
  const std::string text = changed.dump();
  const std::uint64_t size = text.size();
  folder.write("model.safetensors",
               std::string(reinterpret_cast<const char*>(&size), sizeof size) + text + data);
}

std::vector<float> logits_of(const std::string& path, const std::vector<TokenId>& ids) {
  const auto source = open_model(path);
  INFO(source.message());
  REQUIRE(source.is_ok());
  const auto config = config_from_gguf((*source)->header());
  INFO(config.message());
  REQUIRE(config.is_ok());
  const auto device = make_device(2);
  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(
      load_stage(**source, *config, {0, config->layers}, *device, {kernels::KvType::kF32, 0}));
  return all_logits(stages, ids, ids.size());
}

}  // namespace

TEST_CASE("a folder of 8-bit floats gives PyTorch's logits of its values, wherever it is cut") {
  const std::string path = (kTiny / "llama_fp8").string();
  const auto expected = *Safetensors::open_file(path + "/expected.safetensors");
  const auto bytes = expected.bytes(*expected.find("logits"));
  const auto id_bytes = expected.bytes(*expected.find("input_ids"));
  std::vector<float> logits(bytes.size() / 4);
  std::memcpy(logits.data(), bytes.data(), bytes.size());
  std::vector<std::int64_t> input(id_bytes.size() / 8);
  std::memcpy(input.data(), id_bytes.data(), id_bytes.size());
  const std::vector<TokenId> ids(input.begin(), input.begin() + 12);
  const auto source = *open_model(path);
  const auto config = *config_from_gguf(source->header());
  std::vector<float> first;
  for (const auto isa : isas())
    for (const int threads : {1, 2, 3, 4})
      for (const bool cut : {false, true}) {
        INFO(kernels::isa_name(isa) << " threads " << threads << " cut " << cut);
        const auto device = make_device(threads, isa);
        const StageOptions options{kernels::KvType::kF32, 0};
        std::vector<std::unique_ptr<Stage>> stages;
        if (cut) stages.push_back(load_stage(*source, config, {0, 1}, *device, options));
        stages.push_back(load_stage(*source, config, {cut ? 1u : 0u, 2}, *device, options));
        const auto ours = all_logits(stages, ids, cut ? 5 : 12);
        double worst = 0;
        for (std::size_t i = 0; i < ours.size(); ++i)
          worst = std::max<double>(worst, std::abs(ours[i] - logits[i]));
        CHECK(worst < 2e-5);
        if (first.empty()) first = ours;
        CHECK(ours == first);
        CHECK_THAT(changes_text(stages.back()->weights()), Contains("F8_E4M3 becomes BF16"));
      }
  // A placement counts the matrices as they lie in memory, and a node fetches the scales, too.
  const auto names = tensors_of(source->header(), config, {1, 2});
  std::size_t scales = 0;
  for (const std::string& name : names) scales += name.ends_with("_scale") ? 1 : 0;
  CHECK(scales == 7);
  std::uint64_t values = 0;
  for (const TensorInfo& tensor : source->header().tensors)
    if (tensor.name.starts_with("blk.1.") && tensor.name.ends_with(".weight"))
      values += 2 * (tensor.shape[0] * (tensor.shape.size() > 1 ? tensor.shape[1] : 1));
  const TensorInfo& head = *source->header().tensor("output.weight");
  CHECK(tensor_bytes_of(source->header(), config, {1, 2}) == values + head.bytes + 136 * 2);
}

TEST_CASE("scales count under every name that they have, and other scales do not matter") {
  const Folder folder("llama_fp8");
  const auto ids = random_ids(9, 96, 2);
  const auto expected = logits_of((kTiny / "llama_fp8").string(), ids);
  rewrite(folder, [](std::string* name, json*, std::string*) {
    if (name->ends_with("_scale_inv")) name->resize(name->size() - 4);
  });
  CHECK(logits_of(folder.path.string(), ids) == expected);
  bool added = false;
  rewrite(folder, [&](std::string* name, json* entry, std::string* bytes) {
    if (added || !name->ends_with("norm.weight")) return;
    added = true;
    *name = "model.layers.0.self_attn.q_proj.input_scale";
    *entry = {{"dtype", "F32"}, {"shape", json::array()}};
    *bytes = std::string(4, '\0');
  });
  CHECK_THAT(folder.open().message(), !Contains("input_scale"));
  // Whether scales are by row, by tensor or in a list, all values are those of the first block.
  for (const auto& shape : {json::array(), json{1}, json{136, 1}, json{136}}) {
    const Folder other("llama_fp8"), same("llama_fp8");
    const auto set = [](const Folder& to, const json& wanted, std::size_t count) {
      rewrite(to, [&](std::string* name, json* entry, std::string* bytes) {
        if (!name->ends_with("o_proj.weight_scale_inv")) return;
        (*entry)["shape"] = wanted;
        const std::string scale = bytes->substr(0, 4);
        bytes->clear();
        for (std::size_t i = 0; i < count; ++i) *bytes += scale;
      });
    };
    set(same, json{2, 1}, 2);
    set(other, shape, !shape.empty() && shape[0] == 136 ? 136 : 1);
    INFO(shape.dump());
    CHECK(logits_of(other.path.string(), ids) == logits_of(same.path.string(), ids));
    CHECK(logits_of(other.path.string(), ids) != expected);
  }
}

TEST_CASE("8-bit floats that have lost their scales are refused") {
  const auto without_scales = [](const Folder& folder) {
    rewrite(folder, [](std::string* name, json*, std::string*) {
      if (name->ends_with("layers.1.mlp.up_proj.weight_scale_inv")) name->clear();
    });
  };
  const Folder folder("llama_fp8");
  without_scales(folder);
  CHECK_THAT(folder.open().message(),
             Contains("up_proj.weight' is F8_E4M3, but its scales") && Contains("are missing"));
  // Without the field, the weights may have been cast without scales.
  CHECK(folder.open([](json& config) { config.erase("quantization_config"); }).is_ok());
  const Folder type("llama_fp8");
  rewrite(type, [](std::string* name, json* entry, std::string*) {
    if (!name->ends_with("layers.1.mlp.up_proj.weight_scale_inv")) return;
    (*entry)["dtype"] = "I32";
  });
  CHECK_THAT(type.open().message(), Contains("has the dtype I32, expected F32, F16 or BF16"));
  const Folder shape("llama_fp8");
  rewrite(shape, [](std::string* name, json* entry, std::string*) {
    if (name->ends_with("layers.1.mlp.up_proj.weight_scale_inv")) (*entry)["shape"] = {4, 1};
  });
  const auto source = open_model(shape.path.string());
  REQUIRE(source.is_ok());
  const auto config = config_from_gguf((*source)->header());
  REQUIRE(config.is_ok());
  CHECK_THAT(check_tensors((*source)->header(), *config).message(),
             Contains("has the shape 4x1, which does not fit scales"));
}

TEST_CASE("gpt-oss in MXFP4 from a folder has transformers' weights and PyTorch's logits") {
  const std::string path = (kTiny / "gpt_oss_mxfp4").string();
  const auto expected = *Safetensors::open_file(path + "/expected.safetensors");
  const auto values = [&](const char* name) {
    const SafetensorsTensor& tensor = *expected.find(name);
    const quant::Format& format = *quant::find(*tensor.type);
    std::vector<float> out(tensor.bytes / format.block_bytes);
    format.dequantize(expected.bytes(tensor).data(), out.size(), out.data());
    return out;
  };
  const auto gate_up = values("gate_up_proj"), down = values("down_proj");
  const auto logits = values("logits");
  std::vector<std::int64_t> input(24);
  std::memcpy(input.data(), expected.bytes(*expected.find("input_ids")).data(), 24 * 8);
  const std::vector<TokenId> ids(input.begin(), input.begin() + 12);
  const auto source = *open_model(path);
  const auto read = config_from_gguf(source->header());
  INFO(read.message());
  REQUIRE(read.is_ok());
  const ModelConfig& config = *read;
  REQUIRE(config.expert_pairs);
  const std::size_t channels = config.channels, inner = config.expert_channels;
  REQUIRE(gate_up.size() == config.experts * channels * 2 * inner);
  std::vector<float> first;
  for (const auto isa : isas())
    for (const int threads : {1, 2, 3})
      for (const bool cut : {false, true}) {
        INFO(kernels::isa_name(isa) << " threads " << threads << " cut " << cut);
        const auto device = make_device(threads, isa);
        const StageOptions options{kernels::KvType::kF32, 0};
        std::vector<std::unique_ptr<Stage>> stages;
        if (cut) stages.push_back(load_stage(*source, config, {0, 1}, *device, options));
        stages.push_back(load_stage(*source, config, {cut ? 1u : 0u, 2}, *device, options));
        const auto ours = all_logits(stages, ids, cut ? 5 : 12);
        double worst = 0, largest = 0;
        for (std::size_t i = 0; i < ours.size(); ++i) {
          worst = std::max<double>(worst, std::abs(ours[i] - logits[i]));
          largest = std::max<double>(largest, std::abs(logits[i]));
        }
        CHECK(worst < 5e-2 * largest);  // products take activations of 8 bits
        if (first.empty()) first = ours;
        CHECK(ours == first);
        CHECK_THAT(changes_text(stages.back()->weights()),
                   Contains("MXFP4_SPLIT becomes MXFP4") && Contains("by more than 0"));
        for (std::size_t expert = 0; expert < config.experts; ++expert) {
          const auto& weights = stages.front()->weights().experts[0][expert];
          std::vector<float> row(std::max(channels, inner));
          for (std::size_t r = 0; r < 2 * inner; ++r) {
            const Weight& weight = weights[r % 2 == 0 ? kExpertGate : kExpertUp];
            REQUIRE(weight.matrix.type == quant::Type::kMXFP4);
            kernels::unpack_row(weight.matrix, r / 2, row.data());
            for (std::size_t c = 0; c < channels; ++c)
              REQUIRE(row[c] == gate_up[(expert * channels + c) * 2 * inner + r]);
          }
          for (std::size_t r = 0; r < channels; ++r) {
            kernels::unpack_row(weights[kExpertDown].matrix, r, row.data());
            for (std::size_t g = 0; g < inner; ++g)
              REQUIRE(row[g] == down[(expert * inner + g) * channels + r]);
          }
        }
      }
}

namespace {

// Returns the reason why a folder cannot be loaded, or "ok".
std::string trouble_of(const Folder& folder) {
  const auto source = open_model(folder.path.string());
  if (!source) return source.message();
  const auto config = config_from_gguf((*source)->header());
  if (!config) return config.message();
  const Status checked = check_tensors((*source)->header(), *config);
  return checked ? "ok" : checked.message();
}

}  // namespace

TEST_CASE("blocks of MXFP4 that have lost their scales, or have others, are refused") {
  const std::string blocks = "layers.1.mlp.experts.down_proj_blocks";
  const std::string scales = "layers.1.mlp.experts.down_proj_scales";
  const auto changed = [&](const std::string& tensor,
                           const std::function<void(std::string*, json*, std::string*)>& change) {
    const Folder folder("gpt_oss_mxfp4");
    rewrite(folder, [&](std::string* name, json* entry, std::string* bytes) {
      if (name->ends_with(tensor)) change(name, entry, bytes);
    });
    return trouble_of(folder);
  };
  CHECK(changed(scales, [](auto*, auto*, auto*) {}) == "ok");
  CHECK(changed(scales, [](auto*, json* entry, auto*) { (*entry)["dtype"] = "F8_E8M0"; }) == "ok");
  CHECK_THAT(changed(scales, [](std::string* name, auto*, auto*) { name->clear(); }),
             Contains("down_proj_blocks' has no scales"));
  CHECK_THAT(changed(scales, [](auto*, json* entry, auto*) { (*entry)["dtype"] = "I8"; }),
             Contains("has the dtype I8, expected U8"));
  CHECK_THAT(changed(scales,
                     [](auto*, json* entry, auto*) {
                       (*entry)["shape"] = {4, 32, 2};
                     }),
             Contains("does not fit scales"));
  CHECK_THAT(changed(scales, [](auto*, json* entry, auto*) { (*entry)["shape"] = {256}; }),
             Contains("has a shape that no tensor can have in the format E8M0"));
  CHECK_THAT(changed(blocks,
                     [](auto*, json* entry, auto*) {
                       (*entry)["shape"] = {4, 64, 2, 8};
                     }),
             Contains("has a shape that no tensor can have in the format MXFP4_SPLIT"));
  CHECK_THAT(changed(blocks, [](std::string* name, auto*, auto*) { name->clear(); }),
             Contains("ffn_down_exps") && Contains("missing"));
  const Folder folder("gpt_oss_mxfp4");
  rewrite(folder, [&](std::string* name, json*, std::string* bytes) {
    if (name->ends_with(scales)) bytes->front() = '\xff';
  });
  const auto source = *open_model(folder.path.string());
  const auto config = *config_from_gguf(source->header());
  const auto device = make_device(1);
  const auto stage = Stage::load(*source, config, {0, 2}, *device, {});
  CHECK_THAT(stage.message(), Contains("ffn_down_exps.weight_scale") && Contains("NaN"));
}

TEST_CASE("fields of gpt-oss that this version cannot compute with are refused") {
  const Folder folder("gpt_oss_mxfp4");
  const auto with = [&](const char* field, const json& value) {
    const auto opened = folder.open([&](json& config) { config[field] = value; });
    return opened ? trouble_of(folder) : opened.message();
  };
  CHECK(with("swiglu_limit", 7) == "ok");
  CHECK_THAT(with("swiglu_limit", 5.0), Contains("this version can run 1.702 and 7"));
  CHECK_THAT(with("attention_bias", false), Contains("\"attention_bias\" is false"));
  CHECK_THAT(with("num_local_experts", 5), Contains("ffn_") && Contains("the configuration asks"));
}

TEST_CASE("methods of quantization are read or refused by their names") {
  const Folder folder("llama_fp8");
  const auto open = [&](const json& quantization) {
    const auto opened =
        folder.open([&](json& config) { config["quantization_config"] = quantization; });
    return opened.is_ok() ? std::string("ok") : opened.message();
  };
  const auto group = [](const json& weights, const char* format = "float-quantized") {
    return json{{"quant_method", "compressed-tensors"},
                {"format", format},
                {"config_groups", {{"group_0", {{"weights", weights}, {"targets", {"Linear"}}}}}}};
  };
  const json f8{{"type", "float"}, {"num_bits", 8}, {"strategy", "tensor"}};
  CHECK(open({{"quant_method", "fp8"}}) == "ok");
  CHECK(open({{"quant_method", "fbgemm_fp8"}}) == "ok");
  CHECK(open({{"quant_method", "modelopt"}, {"quant_algo", "FP8"}}) == "ok");
  CHECK(open(group(f8)) == "ok");
  CHECK(open(group(f8, "mixed-precision")) == "ok");
  json blocks = f8;
  blocks["block_structure"] = {128, 128};
  CHECK(open(group(blocks)) == "ok");
  blocks["block_structure"] = "128x128";
  CHECK(open(group(blocks)) == "ok");
  json old = group(f8);
  old.erase("quant_method");
  CHECK(open(old) == "ok");

  const std::pair<json, const char*> refused[] = {
      {{{"quant_method", "gptq"}, {"bits", 4}}, "by 'gptq' as numbers of 4 bits, which this"},
      {{{"quant_method", "awq"}, {"bits", 4}}, "by 'awq' as numbers of 4 bits"},
      {{{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}}, "by 'bitsandbytes', which this"},
      {{{"quant_method", "mxfp4"}}, "by 'mxfp4', which"},
      {{{"quant_method", "modelopt"}, {"quant_algo", "NVFP4"}}, "by 'modelopt' as 'NVFP4'"},
      {group({{"type", "int"}, {"num_bits", 4}}, "pack-quantized"), "as 'pack-quantized'"},
      {group({{"type", "int"}, {"num_bits", 8}}, "int-quantized"), "as 'int-quantized'"},
      {group({{"type", "int"}, {"num_bits", 4}}), "group_0\" says that the weights are quantized"},
      {group({{"type", "float"}, {"num_bits", 4}}), "as 'float' of 4 bits"},
      {json::object(), "says that the weights are quantized, which this version cannot read"},
      {{{"quant_method", "fp8"}, {"weight_block_size", {128}}}, "is not two numbers from 1 on"},
      {{{"quant_method", "fp8"}, {"weight_block_size", {128, 0}}}, "is not two numbers from 1 on"},
      {{{"quant_method", "fp8"}, {"weight_block_size", "x"}}, "weight_block_size"},
      {{{"quant_method", 7}}, "quant_method"},
      {7, "quantization_config"},
  };
  for (const auto& [quantization, message] : refused) {
    INFO(quantization.dump());
    CHECK_THAT(open(quantization), Contains(message));
  }
  json broken = group(f8);
  broken["config_groups"]["group_0"]["weights"]["block_structure"] = "128";
  CHECK_THAT(open(broken), Contains("expected two sizes such as \"128x128\""));
  json sparse = group(f8);
  sparse["sparsity_config"] = {{"format", "sparse-24-bitmask"}};
  CHECK_THAT(open(sparse), Contains("'sparse-24-bitmask'"));
  json turned = group(f8);
  turned["transform_config"] = {{"config_groups", {{"u", {{"type", "hadamard"}}}}}};
  CHECK_THAT(open(turned), Contains("transformed weights"));
}
