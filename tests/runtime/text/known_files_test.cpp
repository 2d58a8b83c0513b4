#include <catch2/catch.hpp>

#include <troupe/runtime/text/known_files.h>

using namespace troupe;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

TEST_CASE("what failed downloads leave is recognized") {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 5\n";
  CHECK_THAT(describe_known_file(pointer),
             StartsWith("is a pointer of Git LFS") && Contains("run 'git lfs pull'"));
  for (const std::string page : {"<!DOCTYPE html>", "  \n<!doctype HTML>", "<html lang=en>",
                                 "\xef\xbb\xbf<HTML>", "<?xml version='1.0'?>"})
    CHECK_THAT(describe_known_file(page), StartsWith("is a web page") && Contains("take the"));
  CHECK_THAT(describe_known_file("{\"error\":\"not found\"}"), StartsWith("is a text in JSON"));
  CHECK_THAT(describe_known_file(" [1]"), StartsWith("is a text in JSON"));
}

TEST_CASE("weights of other programs are recognized, and how to convert them is said") {
  using std::string;
  const std::pair<string, const char*> files[] = {{string("PK\x03\x04", 4), "zip"},
                                                  {string("\x80\x02}q", 4), "pickle"},
                                                  {"\x89HDF\r\n", "HDF5"},
                                                  {"\x93NUMPY", "NumPy"},
                                                  {"lmgg", "GGML"},
                                                  {"tjgg", "GGML"}};
  for (const auto& [begin, kind] : files) {
    INFO(kind);
    CHECK_THAT(describe_known_file(begin + string(100, '\0')),
               Contains(kind) && Contains("convert it"));
  }
  for (const auto& [begin, tool] :
       {std::pair{"\x1f\x8b", "gunzip"}, std::pair{"\x28\xb5\x2f\xfd", "unzstd"},
        std::pair{"BZh9", "bunzip2"}})
    CHECK_THAT(describe_known_file(begin), Contains(tool));
  const string safetensors = string("\x40\x02\0\0\0\0\0\0", 8) + "{\"a\":1}";
  CHECK_THAT(describe_known_file(safetensors), Contains("safetensors") && Contains("its folder"));
}

TEST_CASE("any other file is not described") {
  for (const std::string begin : {"", " ", "GGUF", "\x7f\x45LF", "hello there", "P", "PK\x05\x06"})
    CHECK(describe_known_file(begin).empty());
  CHECK(describe_known_file(std::string(256, '\0')).empty());
}
