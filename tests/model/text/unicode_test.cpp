#include <chrono>
#include <tuple>

#include <catch2/catch.hpp>

#include <troupe/model/text/regex.h>
#include <troupe/model/text/unicode.h>

using namespace troupe;
using namespace troupe::model;

TEST_CASE("normal forms compose, decompose and order marks") {
  CHECK(normalize("e\xcc\x81", NormalForm::kNfc) == "\xc3\xa9");
  CHECK(normalize("\xc3\xa9", NormalForm::kNfd) == "e\xcc\x81");
  CHECK(normalize("\xef\xac\x81", NormalForm::kNfc) == "\xef\xac\x81");  // the ligature fi
  CHECK(normalize("\xef\xac\x81", NormalForm::kNfkc) == "fi");
  // A dot below comes before a dot above, whichever was written first.
  CHECK(normalize("s\xcc\x87\xcc\xa3", NormalForm::kNfd) == "s\xcc\xa3\xcc\x87");
  CHECK(normalize("s\xcc\x87\xcc\xa3", NormalForm::kNfc) == "\xe1\xb9\xa9");
  CHECK(normalize("\xea\xb0\x81", NormalForm::kNfd) == "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8");
  CHECK(normalize("\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", NormalForm::kNfc) == "\xea\xb0\x81");
}

TEST_CASE("long runs of marks take little time") {
  std::string text = "a";
  for (int i = 0; i < 200'000; ++i) text += i % 2 == 0 ? "\xcc\x81" : "\xcc\xa3";
  const auto begin = std::chrono::steady_clock::now();
  const std::string ordered = normalize(text, NormalForm::kNfd);
  CHECK(ordered.size() == text.size());
  CHECK(ordered.substr(1, 2) == "\xcc\xa3");
  // A bubble sort would take minutes.
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
}

TEST_CASE("lower case and marks") {
  CHECK(lower_case("A\xc3\x89\xce\xa3\xc4\xb0") == "a\xc3\xa9\xcf\x83i\xcc\x87");
  CHECK(without_marks("e\xcc\x81x") == "ex");
}

TEST_CASE("regular expressions know the letters of Unicode 16") {
  const auto regex = Regex::compile(R"(\p{L}+)", false);
  REQUIRE(regex.is_ok());
  std::vector<TextSpan> matches;
  REQUIRE(regex->find_all("1\xe1\xb2\x89x2", &matches));  // U+1C89, since Unicode 16
  REQUIRE(matches.size() == 1);
  CHECK(matches[0].begin == 1);
  CHECK(matches[0].end == 5);
}

TEST_CASE("a foreign pattern cannot take for ever") {
  const auto regex = Regex::compile("(a+)+[bc]", true);
  REQUIRE(regex.is_ok());
  std::vector<TextSpan> matches;
  CHECK(regex->find_all(std::string(64, 'a'), &matches).code() == Code::kResourceExhausted);
  for (const char* pattern : {"\\K", "a\\", "(*ACCEPT)", "("}) {
    const auto refused = Regex::compile(pattern, true);
    CHECK(refused.code() == Code::kBadData);
  }
}

TEST_CASE("a foreign pattern cannot take for ever in many searches either") {
  // Each run of letters takes some milliseconds, which is within the bound of one search.
  const auto regex = Regex::compile("(a+)+b|a+", true);
  REQUIRE(regex.is_ok());
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += std::string(18, 'a') + "c";
  std::vector<TextSpan> matches;
  const auto refused = regex->find_all(text, &matches);
  CHECK(refused.code() == Code::kResourceExhausted);
  CHECK(refused.message().find("takes too long") != std::string::npos);
}

// There, "x{1,3}+" is repeated and greedy, not possessive, and \h is a hexadecimal digit.
TEST_CASE("a foreign pattern means what Oniguruma means by it") {
  for (const auto& [pattern, text, end] :
       {std::tuple{"x{1,3}+", "xxxxx-", 5}, {"[[:alpha:]]+", "ab1", 2}, {"\\h+", "9fAg", 3}}) {
    INFO(pattern);
    const auto regex = Regex::compile(pattern, true);
    REQUIRE(regex.is_ok());
    std::vector<TextSpan> matches;
    REQUIRE(regex->find_all(text, &matches));
    REQUIRE_FALSE(matches.empty());
    CHECK(matches[0].begin == 0);
    CHECK(matches[0].end == static_cast<std::size_t>(end));
  }
}
