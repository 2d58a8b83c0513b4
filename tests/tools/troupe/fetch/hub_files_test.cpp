#include <catch2/catch.hpp>

#include <troupe/tools/troupe/fetch/hub_files.h>

using namespace troupe;
using tools::ListedFile;

namespace {

const std::string kWhere = "hf://someone/thing";

std::vector<ListedFile> files(const std::vector<std::string>& paths) {
  std::vector<ListedFile> out;
  for (const std::string& path : paths) out.push_back({path, 1, std::nullopt});
  return out;
}

std::vector<std::string> paths(const std::vector<ListedFile>& chosen) {
  std::vector<std::string> out;
  for (const ListedFile& file : chosen) out.push_back(file.path);
  return out;
}

const std::vector<std::string> kParts = {"big-Q4_K_M-00002-of-00003.gguf", "README.md",
                                         "big-Q4_K_M-00001-of-00003.gguf",
                                         "big-Q4_K_M-00003-of-00003.gguf", "big-Q8_0.gguf"};

}  // namespace

TEST_CASE("a GGUF file is chosen by path, by quant, or because it is the only one") {
  const auto some = files({"a-Q4_K.gguf", "a-Q4_K_M.gguf", "sub/a-q8_0.gguf", "config.json"});
  CHECK(paths(tools::choose_gguf(some, "sub/a-q8_0.gguf", kWhere)->parts) ==
        std::vector<std::string>{"sub/a-q8_0.gguf"});
  CHECK(tools::choose_gguf(some, "Q8_0", kWhere)->name == "a-q8_0");
  // A word of its own counts more than a part of a word.
  CHECK(tools::choose_gguf(some, "q4_k", kWhere)->name == "a-Q4_K");
  CHECK(tools::choose_gguf(some, "Q4_K_M", kWhere)->name == "a-Q4_K_M");
  CHECK(tools::choose_gguf(some, "Q4", kWhere).code() == Code::kInvalidArgument);
  const auto none = tools::choose_gguf(some, "Q5_0", kWhere);
  CHECK(none.code() == Code::kNotFound);
  CHECK(none.message().find("sub/a-q8_0.gguf") != std::string::npos);
  CHECK(tools::choose_gguf(some, "", kWhere).code() == Code::kInvalidArgument);
  CHECK(tools::choose_gguf(files({"x.GGUF", "y.bin"}), "", kWhere)->name == "x");
  CHECK(tools::choose_gguf(files({"y.bin"}), "", kWhere).code() == Code::kNotFound);
}

TEST_CASE("a GGUF file in parts is chosen as one, with all of them in order") {
  for (const std::string choice : {"Q4_K_M", "big-Q4_K_M-00002-of-00003.gguf"}) {
    const auto chosen = tools::choose_gguf(files(kParts), choice, kWhere);
    REQUIRE(chosen);
    CHECK(chosen->name == "big-Q4_K_M");
    CHECK(paths(chosen->parts) == std::vector<std::string>{"big-Q4_K_M-00001-of-00003.gguf",
                                                           "big-Q4_K_M-00002-of-00003.gguf",
                                                           "big-Q4_K_M-00003-of-00003.gguf"});
  }
  auto lacking = kParts;
  lacking.erase(lacking.begin());
  const auto chosen = tools::choose_gguf(files(lacking), "Q4_K_M", kWhere);
  CHECK(chosen.code() == Code::kBadData);
  CHECK(chosen.message().find("part 2 of the 3") != std::string::npos);
}

TEST_CASE("a folder's model is its weights and the texts that are read") {
  const auto whole = files({"README.md", "config.json", "model.safetensors", "tokenizer.json",
                            "pytorch_model.bin", "onnx/config.json", "vocab.txt"});
  CHECK_FALSE(tools::needs_index(whole));
  CHECK(
      paths(*tools::choose_folder(whole, "", kWhere)) ==
      std::vector<std::string>{"config.json", "tokenizer.json", "vocab.txt", "model.safetensors"});
  const auto shards =
      files({"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors",
             "model-00002-of-00002.safetensors", "other.safetensors"});
  CHECK(tools::needs_index(shards));
  const auto chosen = tools::choose_folder(
      shards,
      R"({"weight_map":{"a":"model-00002-of-00002.safetensors",)"
      R"("b":"model-00001-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}})",
      kWhere);
  REQUIRE(chosen);
  CHECK(paths(*chosen) == std::vector<std::string>{"config.json", "model.safetensors.index.json",
                                                   "model-00001-of-00002.safetensors",
                                                   "model-00002-of-00002.safetensors"});
  const auto absent =
      tools::choose_folder(shards, R"({"weight_map":{"a":"x.safetensors"}})", kWhere);
  CHECK(absent.code() == Code::kNotFound);
  CHECK(absent.message().find("x.safetensors") != std::string::npos);
}

TEST_CASE("an index that is none is refused") {
  const auto shards = files({"config.json", "model.safetensors.index.json"});
  for (const std::string index :
       {"", "[", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})",
        R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":"../x.safetensors"}})",
        R"({"weight_map":{"a":"x.bin"}})"}) {
    CAPTURE(index);
    CHECK(tools::choose_folder(shards, index, kWhere).code() == Code::kBadData);
  }
  CHECK(tools::choose_folder(files({"config.json"}), "", kWhere).code() == Code::kNotFound);
  CHECK(tools::choose_folder(files({"model.safetensors"}), "", kWhere).code() == Code::kNotFound);
}
