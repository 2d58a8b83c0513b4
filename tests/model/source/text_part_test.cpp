#include <cstring>
#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/runtime/file.h>
#include <troupe/tests/model/transformer/memory_model.h>

// Tests folders of models that also see pictures, whose text part is run alone.

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

const fs::path kTiny = TROUPE_TEST_DATA "/golden/tiny/gemma3";

std::string content(const fs::path& path) { return *read_file(path, 1 << 24); }

void write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// Makes the folder of the tiny model as if it could see pictures: its tensors' names begin with
// `prefix`.
fs::path seeing_folder(const std::string& prefix) {
  const fs::path folder = fs::temp_directory_path() / ("seeing-" + std::to_string(prefix.size()));
  fs::create_directories(folder);
  json config;
  config["model_type"] = "gemma3";
  config["text_config"] = json::parse(content(kTiny / "config.json"));
  config["vision_config"] = {{"model_type", "siglip_vision_model"}, {"hidden_size", 8}};
  write(folder / "config.json", config.dump());
  const std::string file = content(kTiny / "model.safetensors");
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), sizeof header_bytes);
  json header;
  const json plain = json::parse(file.substr(8, header_bytes));
  for (const auto& [name, value] : plain.items())
    header[name == "__metadata__" ? name : prefix + name.substr(std::strlen("model."))] = value;
  // The weights for pictures are left out.
  const std::size_t end = file.size() - 8 - header_bytes;
  header["vision_tower.embeddings.weight"] = {
      {"dtype", "F32"}, {"shape", {2, 2}}, {"data_offsets", {end, end + 16}}};
  const std::string text = header.dump();
  const std::uint64_t bytes = text.size();
  write(folder / "model.safetensors", std::string(reinterpret_cast<const char*>(&bytes), 8) + text +
                                          file.substr(8 + header_bytes) + std::string(16, '\0'));
  return folder;
}

std::vector<float> logits_of(const fs::path& folder) {
  const auto source = open_model(folder.string());
  INFO(source.message());
  REQUIRE(source.is_ok());
  const auto config = config_from_gguf((*source)->header());
  INFO(config.message());
  REQUIRE(config.is_ok());
  const auto device = make_device(1);
  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(load_stage(**source, *config, {0, config->layers}, *device));
  return all_logits(stages, {5, 6, 7, 8, 9, 10, 11}, 7);
}

}  // namespace

TEST_CASE("the text part of a model that sees is the same model") {
  const auto expected = logits_of(kTiny);
  for (const char* prefix : {"language_model.model.", "model.language_model."}) {
    INFO(prefix);
    const fs::path folder = seeing_folder(prefix);
    CHECK(logits_of(folder) == expected);
    fs::remove_all(folder);
  }
}
