#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/files/safetensors.h>
#include <troupe/model/source/hf_folder.h>
#include <troupe/model/source/open_model.h>
#include <troupe/model/store/store.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/runtime/file.h>
#include <troupe/runtime/numerics/half.h>
#include <troupe/runtime/sha256.h>
#include <troupe/tests/model/source/tiny_folder.h>
#include <troupe/tests/model/transformer/memory_model.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using Catch::Matchers::Contains;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// Returns the bytes of the file that a model is laid out as.
std::string whole_file(const WholeModel& model, std::uint64_t step) {
  std::string out;
  while (out.size() < model.file_bytes()) {
    const auto piece = model.piece(out.size(), step);
    REQUIRE_FALSE(piece.empty());
    REQUIRE(piece.size() <= step);
    out.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  REQUIRE(model.piece(out.size(), step).empty());
  return out;
}

}  // namespace

TEST_CASE("a folder is read as one GGUF file, and that file is the same model") {
  for (const char* family : {"llama", "mistral", "qwen2", "qwen3", "gpt2", "bert"}) {
    INFO(family);
    const auto folder = open_model((kTiny / family).string());
    REQUIRE(folder.is_ok());
    const std::string bytes = whole_file(**folder, 1000);
    REQUIRE(bytes == whole_file(**folder, 1 << 20));
    const fs::path path = fs::temp_directory_path() / "troupe_hf_folder_test.gguf";
    std::ofstream(path, std::ios::binary) << bytes;
    const auto file = open_gguf(path.string());
    INFO(file.message());
    REQUIRE(file.is_ok());
    REQUIRE((*file)->header().tensors.size() == (*folder)->header().tensors.size());
    for (const TensorInfo& tensor : (*folder)->header().tensors) {
      INFO(tensor.name);
      REQUIRE(tensor.offset % 32 == 0);
      const auto a = *(*file)->bytes(tensor.name), b = *(*folder)->bytes(tensor.name);
      REQUIRE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
    }
    REQUIRE(config_from_gguf((*file)->header())->layers == 2);
    (*folder)->drop_piece((*folder)->piece(0, 100));
    (*folder)->drop("token_embd.weight");
    REQUIRE(whole_file(**folder, 1 << 20) == bytes);
    fs::remove(path);
  }
}

TEST_CASE("an old checkpoint of BERT names the parts of a norm gamma and beta") {
  const Folder folder("bert");
  const auto whole_of = [&] {
    const auto model = open_model(folder.path.string());
    INFO(model.message());
    REQUIRE(model.is_ok());
    return whole_file(**model, 1 << 20);
  };
  const std::string expected = whole_of();
  const std::string file = *read_file(folder.path / "model.safetensors", 1 << 22);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  const json header = json::parse(file.substr(8, header_bytes));
  const auto write = [&](const std::function<std::string(std::string)>& rename) {
    json renamed;
    for (const auto& [name, value] : header.items()) renamed[rename(name)] = value;
    const std::string text = renamed.dump();
    const std::uint64_t bytes = text.size();
    folder.write("model.safetensors", std::string(reinterpret_cast<const char*>(&bytes), 8) + text +
                                          file.substr(8 + header_bytes));
  };
  const auto old_norm = [](std::string name) {
    const std::size_t norm = name.find("LayerNorm.");
    if (norm == name.npos) return name;
    const std::size_t part = norm + std::strlen("LayerNorm.");
    return name.substr(0, part) + (name.substr(part) == "weight" ? "gamma" : "beta");
  };
  const auto bare = [](std::string name) {
    return name.starts_with("bert.") ? name.substr(5) : name;
  };
  write(old_norm);
  CHECK(whole_of() == expected);
  write([&](std::string name) { return bare(old_norm(std::move(name))); });
  CHECK(whole_of() == expected);
  write(bare);
  CHECK(whole_of() == expected);
  write([&](std::string name) {  // the embedding's norm alone
    return name.find("encoder") == name.npos ? old_norm(name) : name;
  });
  CHECK(whole_of() == expected);
  write([&](std::string name) {  // one layer alone
    return name.find("layer.1.") == name.npos ? name : old_norm(name);
  });
  CHECK(whole_of() == expected);
  write([](std::string name) {
    if (name.ends_with("LayerNorm.weight")) name.replace(name.size() - 6, 6, "scale");
    return name;
  });
  CHECK_THAT(open_model(folder.path.string()).message(), Contains("LayerNorm.scale"));
}

TEST_CASE("the head is the matrix that the weights have, whatever the flag says") {
  const Folder folder("llama");
  const std::string whole = *read_file(folder.path / "model.safetensors", 1 << 22);
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, whole.data(), sizeof header_bytes);
  const json header = json::parse(whole.substr(8, header_bytes));
  const std::string embedding = "model.embed_tokens.weight", head = "lm_head.weight";
  const auto write = [&](const json& changed, const std::string& data) {
    const std::string text = changed.dump();
    const std::uint64_t bytes = text.size();
    folder.write("model.safetensors",
                 std::string(reinterpret_cast<const char*>(&bytes), 8) + text + data);
  };
  const auto open = [&](bool flag) {
    json config = folder.config;
    config["tie_word_embeddings"] = flag;
    folder.write("config.json", config.dump());
    return open_model(folder.path.string());
  };
  const auto head_bytes = [](const WholeModel& model) {
    const ModelConfig config = *config_from_gguf(model.header());
    const auto bytes = *model.bytes(config.tied_embedding ? "token_embd.weight" : "output.weight");
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  const std::string data = whole.substr(8 + header_bytes);
  const auto slice = [&](const std::string& name) {
    const json& offsets = header[name]["data_offsets"];
    return data.substr(offsets[0], offsets[1].get<std::size_t>() - offsets[0].get<std::size_t>());
  };
  for (const bool flag : {false, true}) {
    INFO(flag);
    write(header, data);  // two matrices
    CHECK(head_bytes(**open(flag)) == slice(head));
    std::string copied = data;
    copied.replace(header[head]["data_offsets"][0], slice(head).size(), slice(embedding));
    write(header, copied);  // a copy of the embedding
    const auto copy = open(flag);
    CHECK(head_bytes(**copy) == slice(embedding));
    CHECK(config_from_gguf((*copy)->header())->tied_embedding == flag);
    copied[header[head]["data_offsets"][1].get<std::size_t>() - 1] ^= 1;
    write(header, copied);  // the last byte of the copy differs
    CHECK(head_bytes(**open(flag)) != slice(embedding));
  }
  json alone = header;
  alone[head] = header[embedding];
  alone["unused"] = header[head];
  alone.erase(embedding);
  write(alone, data);  // the head stands for both matrices
  const auto once = open(true);
  INFO(once.message());
  REQUIRE(once.is_ok());
  CHECK(config_from_gguf((*once)->header())->tied_embedding);
  CHECK(head_bytes(**once) == slice(embedding));
  CHECK_FALSE(config_from_gguf((*open(false))->header()).is_ok());
  alone = header;
  alone["unused"] = header[head];
  alone.erase(head);
  write(alone, data);  // the embedding stands for both matrices
  CHECK(head_bytes(**open(true)) == slice(embedding));
}

TEST_CASE("a folder without its parts, or with wrong tensors, is refused") {
  const auto device = make_device(1);
  Folder folder("llama");
  const auto load = [&]() -> Status {
    const auto model = open_model(folder.path.string());
    if (!model) return model.status();
    const auto config = config_from_gguf((*model)->header());
    if (!config) return config.status();
    return Stage::load(**model, *config, {0, config->layers}, *device, {}).status();
  };
  REQUIRE(load().is_ok());
  folder.config["intermediate_size"] = 128;
  REQUIRE(folder.open().is_ok());
  CHECK_THAT(load().message(), Contains("has the shape 96x64") && Contains("128x64"));
  folder.config["intermediate_size"] = 96;
  REQUIRE(folder.open().is_ok());

  const auto weights = [&](const std::vector<F32Tensor>& tensors) {
    REQUIRE(write_safetensors(folder.path / "model.safetensors", tensors).is_ok());
    return load().message();
  };
  const std::vector<float> values(128 * 64, 0.5f);
  CHECK_THAT(weights({}), Contains("token_embd.weight is missing"));
  CHECK_THAT(weights({{"model.embed_tokens.weight", {128, 64}, values}}),
             Contains("blk.0.attn_norm.weight is missing"));
  CHECK_THAT(weights({{"model.embed_tokens.weight", {128, 64}, values},
                      {"embed_tokens.weight", {128, 64}, values}}),
             Contains("appears twice"));
  CHECK_THAT(weights({{"model.embed_tokens.weight", {128, 64}, values},
                      {"model.layers.0.mlp.gate.weight", {2, 64}, std::span(values).first(128)}}),
             Contains("model.layers.0.mlp.gate.weight") && Contains("another kind"));
  CHECK_THAT(
      weights(
          {{"model.embed_tokens.weight", {128, 64}, values},
           {"model.layers.0.self_attn.rotary_emb.inv_freq", {1, 8}, std::span(values).first(8)}}),
      Contains("blk.0.attn_norm.weight is missing"));  // buffers are ignored
  CHECK_THAT(weights({{"model.embed_tokens.weight", {}, std::span(values).first(1)}}),
             Contains("no vector or matrix"));
  CHECK_THAT(weights({{"model.embed_tokens.weight", {0, 64}, {}}}),
             Contains("no vector or matrix"));
  const std::string i64 =
      R"({"model.embed_tokens.weight":{"dtype":"I64","shape":[1,1],"data_offsets":[0,8]}})";
  const std::uint64_t bytes = i64.size();
  folder.write("model.safetensors",
               std::string(reinterpret_cast<const char*>(&bytes), 8) + i64 + "12345678");
  CHECK_THAT(load().message(), Contains("dtype I64"));
  fs::remove(folder.path / "model.safetensors");
  CHECK_THAT(load().message(), Contains("model.safetensors"));
  CHECK(load().code() == Code::kNotFound);
  fs::remove(folder.path / "config.json");
  CHECK_THAT(load().message(), Contains("has no config.json"));
}

TEST_CASE("a folder in shards is the same model as in one file") {
  const Folder folder("llama");
  const auto original = Safetensors::open_file(kTiny / "llama" / "model.safetensors");
  REQUIRE(original.is_ok());
  std::vector<std::vector<float>> values;
  std::vector<F32Tensor> shards[3];
  json map = json::object();
  values.reserve(original->tensors().size());
  for (const SafetensorsTensor& tensor : original->tensors()) {
    const auto bytes = original->bytes(tensor);
    std::vector<float>& copy = values.emplace_back(bytes.size() / 4);
    std::memcpy(copy.data(), bytes.data(), bytes.size());
    const std::size_t shard = values.size() % 3;
    shards[shard].push_back({tensor.name, tensor.shape, copy});
    map[tensor.name] = "model-" + std::to_string(shard) + ".safetensors";
  }
  for (std::size_t i = 0; i < 3; ++i)
    REQUIRE(
        write_safetensors(folder.path / ("model-" + std::to_string(i) + ".safetensors"), shards[i])
            .is_ok());
  folder.write("model.safetensors.index.json", json{{"weight_map", map}}.dump());
  fs::remove(folder.path / "model.safetensors");
  const auto sharded = open_model(folder.path.string());
  INFO(sharded.message());
  REQUIRE(sharded.is_ok());
  REQUIRE(whole_file(**sharded, 1 << 20) ==
          whole_file(**open_model((kTiny / "llama").string()), 999));
  REQUIRE(model_files(folder.path)->size() == 5);  // index, three shards, config.json
}

TEST_CASE("weights in half precision are read, vectors among them") {
  Folder folder("qwen2");
  const auto original = Safetensors::open_file(kTiny / "qwen2" / "model.safetensors");
  REQUIRE(original.is_ok());
  json header = json::object();
  std::string data;
  for (const SafetensorsTensor& tensor : original->tensors()) {
    const auto bytes = original->bytes(tensor);
    const std::size_t begin = data.size();
    for (std::size_t i = 0; i < bytes.size(); i += 4) {
      float value;
      std::memcpy(&value, &bytes[i], 4);
      const std::uint16_t half = f32_to_f16(value);
      data.append(reinterpret_cast<const char*>(&half), 2);
    }
    header[tensor.name] = {
        {"dtype", "F16"}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  const std::string text = header.dump();
  const std::uint64_t size = text.size();
  folder.write("model.safetensors",
               std::string(reinterpret_cast<const char*>(&size), 8) + text + data);
  const auto device = make_device(2);
  const auto logits = [&](const std::string& path) {
    const auto model = open_model(path);
    INFO(model.message());
    REQUIRE(model.is_ok());
    std::vector<std::unique_ptr<Stage>> stages;
    stages.push_back(load_stage(**model, *config_from_gguf((*model)->header()), {0, 2}, *device));
    return all_logits(stages, random_ids(20, 128, 3), 20);
  };
  const auto half = logits(folder.path.string()), full = logits((kTiny / "qwen2").string());
  double worst = 0;
  for (std::size_t i = 0; i < half.size(); ++i)
    worst = std::max<double>(worst, std::abs(half[i] - full[i]));
  CHECK(worst > 0);
  CHECK(worst < 5e-3);  // weights and cache are off by 2^-11
}

TEST_CASE("the ids at which generation ends travel in the header") {
  const Folder folder("llama");
  const auto ends = [&]() -> std::vector<std::int64_t> {
    const auto model = open_model(folder.path.string());
    INFO(model.message());
    REQUIRE(model.is_ok());
    const auto found = (*model)->header().metadata.find("troupe.end_token_ids");
    if (found == (*model)->header().metadata.end()) return {};
    return std::get<std::vector<std::int64_t>>(found->second);
  };
  CHECK(ends() == std::vector<std::int64_t>{2});
  folder.write("generation_config.json", "{\"eos_token_id\": [5, 7]}");
  CHECK(ends() == std::vector<std::int64_t>{5, 7});
  folder.write("generation_config.json", "{}");
  CHECK(ends() == std::vector<std::int64_t>{2});
  folder.write("generation_config.json", "{\"eos_token_id\": \"x\"}");
  CHECK_THAT(open_model(folder.path.string()).message(), Contains("generation_config.json"));
}

TEST_CASE("texts of a folder travel in the header") {
  const Folder folder("llama");
  folder.write("tokenizer.json", "{\"version\": \"1.0\"}");
  folder.write("vocab.txt", "[PAD]\n");
  const auto model = open_model(folder.path.string());
  REQUIRE(model.is_ok());
  CHECK(*(*model)->header().string("troupe.tokenizer_json") == "{\"version\": \"1.0\"}");
  CHECK(*(*model)->header().string("troupe.vocab_txt") == "[PAD]\n");
  CHECK_THAT(*(*model)->header().string("troupe.config_json"), Contains("LlamaForCausalLM"));
  CHECK_FALSE((*model)->header().string("troupe.tokenizer_config_json").is_ok());
}

TEST_CASE("a folder's layers can be fetched as blobs and give the same bits") {
  const Folder home("llama");  // any folder that is removed at the end
  const auto device = make_device(2);
  for (const char* family : {"llama", "gpt2", "llama_fp8"}) {
    INFO(family);
    const fs::path path = kTiny / family;
    const auto here = *Store::open(home.path / "here"), there = *Store::open(home.path / "there");
    REQUIRE(*here->resolve(path.string()) == path);
    const auto manifest = here->manifest(path);
    INFO(manifest.message());
    REQUIRE(manifest.is_ok());
    CHECK(here->manifest(path)->model == manifest->model);  // remembered
    const auto model = *open_model(path.string());
    CHECK(manifest->file_bytes == model->file_bytes());
    CHECK(manifest->tensors.size() == model->header().tensors.size());
    const std::string file = whole_file(*model, 1 << 20);
    CHECK(manifest->file_sha256 == sha256_hex(std::as_bytes(std::span(file))));
    here->adopt(*manifest, path);
    REQUIRE(here->source(*manifest).is_ok());

    const auto send = [&](const BlobRef& blob, std::uint64_t offset) {
      if (there->has_blob(blob.sha256)) return;
      const auto piece = model->piece(offset, blob.bytes);
      REQUIRE(piece.size() == blob.bytes);
      const auto writer = *there->begin_blob(blob);
      REQUIRE(writer->append(piece).is_ok());
      REQUIRE(writer->commit().is_ok());
    };
    const auto config = *config_from_gguf(model->header());
    send(manifest->header, 0);
    const auto source = *there->source(*manifest);
    const auto names = tensors_of(model->header(), config, {1, 2});
    const auto missing = there->missing(*manifest, names);
    REQUIRE(missing.size() > 5);
    for (const auto& tensor : manifest->tensors)
      if (std::find(names.begin(), names.end(), tensor.name) != names.end())
        send(tensor.blob, tensor.offset);
    REQUIRE(there->missing(*manifest, names).empty());
    REQUIRE(there->missing(*manifest, tensors_of(config, {0, 1})).size() > 5);
    std::vector<std::unique_ptr<Stage>> whole, split;
    whole.push_back(load_stage(*model, config, {0, 2}, *device));
    split.push_back(load_stage(*model, config, {0, 1}, *device));
    split.push_back(load_stage(*source, *config_from_gguf(source->header()), {1, 2}, *device));
    const auto ids = random_ids(30, config.vocabulary, 4);
    REQUIRE(all_logits(split, ids, 30) == all_logits(whole, ids, 30));
  }
}
