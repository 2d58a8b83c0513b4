#include <filesystem>

#include <catch2/catch.hpp>

#include <troupe/tests/model/training/scratch_folder.h>
#include <troupe/tools/troupe/training/model_file.h>

using namespace troupe;
using namespace troupe::tools;
using troupe::model::test::ScratchFolder;

namespace {

const std::string kWhole =
    "family = \"llama\"\n"
    "tokenizer = \"letters\"\n"
    "layers = 2\n"
    "channels = 64\n"
    "ffn_channels = 96\n"
    "heads = 4\n"
    "kv_heads = 2\n"
    "context = 128\n"
    "seed = 7\n"
    "deviation = 1\n";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

}  // namespace

TEST_CASE("a model's file is read") {
  const ScratchFolder scratch;
  const auto path = scratch.write("model.toml", kWhole);
  auto read = read_model_file(path.string());
  INFO(read.message());
  REQUIRE(read.is_ok());
  CHECK(read->config.family == "llama");
  CHECK(read->config.causal);
  CHECK(read->config.head_dim == 16);
  CHECK(read->config.kv_heads == 2);
  CHECK(read->config.tied_embedding);
  CHECK(read->config.vocabulary == 0);
  CHECK(read->seed == 7);
  CHECK(read->deviation == 1.0);
  // The tokenizer counts as a name unless there is such a file beside the model's.
  CHECK(read->tokenizer == "letters");
  std::filesystem::create_directory(scratch.path() / "letters");
  read = read_model_file(path.string());
  REQUIRE(read.is_ok());
  CHECK(read->tokenizer == scratch.path() / "letters");
}

TEST_CASE("what is wrong in a model's file is named with its line") {
  const ScratchFolder scratch;
  const struct {
    std::string from, to, says;
  } cases[] = {
      {"family = \"llama\"", "family = \"gemma2\"", ":1: family = 'gemma2' is none that can be"},
      {"family = \"llama\"", "", " has no line with family; give it: llama, mistral"},
      {"tokenizer = \"letters\"\n", "", " has no line with tokenizer; give it: the folder"},
      {"layers = 2", "layers = 0", ":3: layers = 0 is not a whole number from 1 to 4096"},
      {"layers = 2", "layers = 2.5", ":3: layers = 2.5 is not a whole number"},
      {"layers = 2", "layers = \"two\"", ":3: layers = 'two' is not a whole number"},
      {"layers = 2\n", "", " has no line with layers; give it: a whole number"},
      {"heads = 4", "heads = 5", ":7: kv_heads = 2 does not divide the 5 heads"},
      {"heads = 4\nkv_heads = 2", "heads = 5", ":6: heads = 5 does not divide the 64 channels"},
      {"heads = 4\nkv_heads = 2", "heads = 64", ":6: heads = 64 leaves a head 1 channels"},
      {"context = 128", "width = 128", ":8: a new model of the family llama has no 'width'"},
      {"context = 128", "window = 128", ":8: a new model of the family llama has no 'window'"},
      {"family = \"llama\"", "family = \"gpt2\"", ":7: a new model of the family gpt2 has no 'kv_"},
      {"seed = 7", "seed = -1", ":9: seed = -1 is not a whole number from 0"},
      {"deviation = 1", "deviation = nan", ":10: deviation"},
      {"seed = 7", "seed = ", ":9: not TOML"},
      {"seed = 7", "seed = 7\nseed = 8", ":10: not TOML"},
      {"seed = 7", "tied_embedding = 1", ":9: tied_embedding = 1 is not true or false"},
  };
  for (const auto& one : cases) {
    INFO(one.from << " -> " << one.to);
    const auto path = scratch.write("model.toml", replaced(kWhole, one.from, one.to));
    const auto read = read_model_file(path.string());
    REQUIRE_FALSE(read.is_ok());
    CHECK_THAT(read.message(), Catch::Matchers::StartsWith(path.string() + one.says));
  }
  CHECK(read_model_file((scratch.path() / "none.toml").string()).code() == Code::kNotFound);
}
