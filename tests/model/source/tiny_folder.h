#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/families/read_config.h>
#include <troupe/model/source/open_model.h>
#include <troupe/runtime/file.h>

// The recorded tiny models, as folders for tests.

namespace troupe::model::test {

inline const std::filesystem::path kTiny = TROUPE_TEST_DATA "/golden/tiny";

// A copy of a tiny folder that a test may change.
struct Folder {
  explicit Folder(const std::string& family) {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "troupe_hf_folder.XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
    for (const char* file : {"config.json", "model.safetensors"})
      std::filesystem::copy_file(kTiny / family / file, path / file);
    config = nlohmann::json::parse(*read_file(path / "config.json", 1 << 20));
  }
  ~Folder() { std::filesystem::remove_all(path); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path / name, std::ios::binary) << content;
  }
  // Opens the folder with a changed configuration.
  Result<ModelConfig> open(const std::function<void(nlohmann::json&)>& change =
                               [](nlohmann::json&) {}) const {
    nlohmann::json changed = config;
    change(changed);
    write("config.json", changed.dump());
    TROUPE_ASSIGN_OR_RETURN(const auto model, open_model(path.string()));
    return config_from_gguf(model->header());
  }
  std::filesystem::path path;
  nlohmann::json config;
};

}  // namespace troupe::model::test
