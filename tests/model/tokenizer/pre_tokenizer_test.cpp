#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/model/tokenizer/pre_tokenizer.h>
#include <troupe/model/tokenizer/pre_tokenizer_families.h>
#include <troupe/tests/runtime/text/random_text.h>

using namespace troupe;
using namespace troupe::model;
using troupe::test::random_text;

namespace {

std::vector<std::string_view> words_of(std::string_view name, std::string_view text) {
  const auto pre = find_pre_tokenizer(name);
  INFO(pre.message());
  REQUIRE(pre.is_ok());
  WordList words;
  if (!text.empty()) words.words.push_back(text);
  REQUIRE(cut_words(pre->cuts, &words));
  REQUIRE(words.made.empty());  // the words point into the text
  return words.words;
}

using Words = std::vector<std::string_view>;

}  // namespace

TEST_CASE("pre-tokenizers cut as their families do") {
  CHECK(words_of("gpt-2", "Hello  world's 123\n") ==
        Words{"Hello", " ", " world", "'s", " 123", "\n"});
  CHECK(words_of("smollm", "a 12 b") == Words{"a", " ", "1", "2", " b"});
  CHECK(words_of("smollm", "x  7") == Words{"x", "  ", "7"});
  CHECK(words_of("llama-bpe", "It'S 12345\n\n  x!\n") ==
        Words{"It", "'S", " ", "123", "45", "\n\n", " ", " x", "!\n"});
  CHECK(words_of("qwen2", "It'S 12 x") == Words{"It", "'S", " ", "1", "2", " x"});
  CHECK(words_of("deepseek-v3", "1234 a_b \xe4\xb8\x96x") ==
        Words{"123", "4", " a", "_b", " ", "\xe4\xb8\x96", "x"});
  CHECK(words_of("deepseek-coder", "a 12\nb!") == Words{"a", " ", "1", "2", "\n", "b", "!"});
  // U+180E is not white space (since Unicode 6.3); U+0085 and U+3000 are.
  CHECK(words_of("gpt-2", "a\xe1\xa0\x8e") == Words{"a", "\xe1\xa0\x8e"});
  CHECK(words_of("gpt-2", "\xc2\x85 a") == Words{"\xc2\x85", " a"});
  CHECK(words_of("gpt-2", "!\xe1\xa0\x8e!") == Words{"!\xe1\xa0\x8e!"});
  CHECK(words_of("gpt-2", "!\xe3\x80\x80!") == Words{"!", "\xe3\x80\x80", "!"});
  CHECK(words_of("gpt-2", "") == Words{});
}

TEST_CASE("words are the text, whatever the pre-tokenizer") {
  std::mt19937 random(17);
  for (const char* name : {"gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-llm",
                           "deepseek-coder", "deepseek-v3", "starcoder"}) {
    for (int round = 0; round < 100; ++round) {
      const std::string text = random_text(&random, random() % 50);
      std::string joined;
      for (const std::string_view word : words_of(name, text)) {
        CHECK_FALSE(word.empty());
        joined += word;
      }
      CHECK(joined == text);
    }
  }
}
