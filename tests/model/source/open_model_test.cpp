#include <filesystem>
#include <fstream>

#include <catch2/catch.hpp>

#include <troupe/model/source/open_model.h>
#include <troupe/tests/model/files/gguf_builder.h>

using namespace troupe;
using namespace troupe::model;
using troupe::test::GgufBuilder;

namespace {

std::string write(const std::string& name, const std::string& content) {
  const std::filesystem::path path = std::filesystem::temp_directory_path() / name;
  std::ofstream(path, std::ios::binary) << content;
  return path.string();
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

TEST_CASE("a tensor source gives the bytes of a file's tensors") {
  GgufBuilder file;
  file.head(2, 0).tensor("one", {2}, 0, 0).tensor("two", {3}, 0, 32).pad();
  file.raw("12345678").pad().raw("abcdefghijkl");
  const std::string path = write("troupe_tensor_source_test.gguf", file.bytes());
  const auto source = open_gguf(path);
  INFO(source.message());
  REQUIRE(source.is_ok());
  CHECK((*source)->header().tensors.size() == 2);
  CHECK(text_of(*(*source)->bytes("one")) == "12345678");
  CHECK(text_of(*(*source)->bytes("two")) == "abcdefghijkl");
  (*source)->drop("two");
  (*source)->drop("three");
  CHECK(text_of(*(*source)->bytes("two")) == "abcdefghijkl");
  CHECK((*source)->bytes("three").code() == Code::kNotFound);
  CHECK((*source)->bytes("three").message() == path + " has no tensor 'three'");
  std::filesystem::remove(path);
}

TEST_CASE("a model file that is missing, foreign or a folder is named") {
  const std::string absent = open_gguf("/nowhere/model.gguf").message();
  CHECK(absent.find("/nowhere/model.gguf") != std::string::npos);
  CHECK(open_gguf("/nowhere/model.gguf").code() == Code::kNotFound);
  CHECK(open_gguf(std::filesystem::temp_directory_path().string()).code() == Code::kBadData);
  const std::string path = write("troupe_tensor_source_test.txt", "just some text");
  CHECK(open_gguf(path).message() ==
        path +
            ": is not a GGUF file: it begins with 'just', expected 'GGUF'; give a GGUF file, or a "
            "folder with config.json and model.safetensors");
  std::filesystem::remove(path);
}
