#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <troupe/model/source/open_model.h>
#include <troupe/model/tokenizer/tokenizer.h>
#include <troupe/model/tokenizer/tokenizer_gguf.h>
#include <troupe/runtime/text/utf8.h>
#include <troupe/tests/model/tokenizer/decode.h>
#include <troupe/tests/runtime/text/random_text.h>

using namespace troupe;
using namespace troupe::model;
using troupe::model::test::decode;
using troupe::test::random_text;

// The tokenizer of a real model (TROUPE_TEST_MODEL). Made vocabularies are in
// tokenizer_gguf_test.cpp.

namespace {

nlohmann::json golden(const std::string& name) {
  std::ifstream file(std::string(TROUPE_TEST_DATA) + "/golden/" + name);
  REQUIRE(file.good());
  return nlohmann::json::parse(file);
}

// Returns the real model's tokenizer, or nullptr with a warning that names the test.
std::shared_ptr<const Tokenizer> real_tokenizer(const char* test) {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: " << test << " (TROUPE_TEST_MODEL is not set)");
    return nullptr;
  }
  const auto source = open_gguf(path);
  INFO(source.message());
  REQUIRE(source.is_ok());
  auto tokenizer = tokenizer_from_gguf((*source)->header());
  INFO(tokenizer.message());
  REQUIRE(tokenizer.is_ok());
  return *tokenizer;
}

}  // namespace

TEST_CASE("recorded token ids are reproduced, and decode to the text") {
  const auto tokenizer = real_tokenizer("recorded token ids");
  if (tokenizer == nullptr) return;
  const nlohmann::json cases = golden("smollm2_tokens.json");
  REQUIRE(cases.size() == 50);
  for (const nlohmann::json& one : cases) {
    const std::string text = one["text"];
    INFO(in_quotes(text));
    const auto ids = tokenizer->encode(text, {});
    REQUIRE(ids.is_ok());
    CHECK(*ids == one["ids"].get<std::vector<TokenId>>());
    CHECK(decode(*tokenizer, *ids) == text);
  }
  const nlohmann::json logits = golden("smollm2_logits.json");
  REQUIRE(logits["generations"].size() == 6);
  for (const nlohmann::json& one : logits["generations"]) {
    CHECK(*tokenizer->encode(one["prompt"].get<std::string>(), {}) ==
          one["prompt_ids"].get<std::vector<TokenId>>());
    CHECK(decode(*tokenizer, one["greedy_ids"].get<std::vector<TokenId>>()) ==
          one["greedy_text"].get<std::string>());
  }
}

TEST_CASE("the real vocabulary's ends and special tokens") {
  const auto tokenizer = real_tokenizer("ends and special tokens");
  if (tokenizer == nullptr) return;
  CHECK(tokenizer->vocabulary() == 49152);
  CHECK(tokenizer->end_tokens() == std::vector<TokenId>{0, 2});
  CHECK(tokenizer->is_end(2));
  CHECK_FALSE(tokenizer->is_end(1));
  CHECK(tokenizer->bos() == 1);
  CHECK(tokenizer->eos() == 2);
  CHECK(*tokenizer->piece(2, false) == "");
  CHECK(*tokenizer->piece(2, true) == "<|im_end|>");
  CHECK(tokenizer->piece(49152, true).code() == Code::kInvalidArgument);
  CHECK(tokenizer->piece(-1, true).code() == Code::kInvalidArgument);
  const auto plain = tokenizer->encode("<|im_end|>", {true, false});
  CHECK(plain->size() > 1);
  CHECK(decode(*tokenizer, *plain) == "<|im_end|>");
}

TEST_CASE("any text comes back from the real vocabulary") {
  const auto tokenizer = real_tokenizer("any text comes back");
  if (tokenizer == nullptr) return;
  std::mt19937 random(11);
  for (int round = 0; round < 400; ++round) {
    const std::string text = random_text(&random, random() % 60);
    INFO(in_quotes(text, 1000));
    const auto ids = tokenizer->encode(text, {});
    INFO(ids.message());
    REQUIRE(ids.is_ok());
    // Remove the bytes for which this vocabulary has no token.
    std::string expected = text;
    std::erase_if(expected, [](char byte) {
      return std::string_view("\x04\x06\x13\x14\x16\x1d\xf1\xf2").find(byte) !=
             std::string_view::npos;
    });
    CHECK(decode(*tokenizer, *ids) == expected);
  }
}

TEST_CASE("a text of too many tokens is given up") {
  const auto tokenizer = real_tokenizer("a text of too many tokens");
  if (!tokenizer) return;
  EncodeOptions options;
  options.tokens_max = 4096;
  for (const std::string& piece : {std::string("a"), std::string("news of the day. ")}) {
    std::string text;
    while (text.size() < 12'000'000) text += piece;
    CHECK(tokenizer->encode(text, options).code() == Code::kResourceExhausted);
  }
  // The bound is exact, to the token.
  const std::string text = "The bound is kept to the token.";
  const auto ids = tokenizer->encode(text, {});
  REQUIRE(ids);
  options.tokens_max = ids->size();
  CHECK(*tokenizer->encode(text, options) == *ids);
  --options.tokens_max;
  CHECK(tokenizer->encode(text, options).code() == Code::kResourceExhausted);
}

TEST_CASE("loading and encoding take little time") {
  const char* path = std::getenv("TROUPE_TEST_MODEL");
  if (path == nullptr) {
    WARN("skipped: loading and encoding take little time (TROUPE_TEST_MODEL is not set)");
    return;
  }
  const auto source = open_gguf(path);
  REQUIRE(source.is_ok());
  const auto tokenizer = *tokenizer_from_gguf((*source)->header());
  // A single word of 200,000 bytes. Quadratic merging would take minutes, so a wide limit detects
  // it on any machine.
  std::mt19937 random(3);
  std::string word;
  while (word.size() < 200000) word += static_cast<char>('a' + random() % 26);
  const auto begin = std::chrono::steady_clock::now();
  const auto ids = tokenizer->encode(word, {});
  REQUIRE(ids.is_ok());
  CHECK(decode(*tokenizer, *ids) == word);
  for (const std::string& run : {std::string(200000, ' '), std::string(200000, '\n'),
                                 std::string(200000, '1'), std::string(200000, '<')}) {
    const auto run_ids = tokenizer->encode(run, {});
    REQUIRE(run_ids.is_ok());
    CHECK(decode(*tokenizer, *run_ids) == run);
  }
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}
