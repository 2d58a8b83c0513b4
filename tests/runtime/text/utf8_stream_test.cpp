#include <algorithm>
#include <random>
#include <string>
#include <string_view>

#include <catch2/catch.hpp>

#include <troupe/runtime/text/utf8.h>
#include <troupe/runtime/text/utf8_stream.h>
#include <troupe/tests/runtime/text/random_text.h>

using namespace troupe;
using troupe::test::random_text;

TEST_CASE("the stream never emits half a character") {
  std::mt19937 random(23);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = random_text(&random, random() % 20);
    // Damage the text in every second round.
    if (round % 2 == 1) {
      for (int i = 0; i < 3 && !bytes.empty(); ++i) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      bytes = bytes.substr(0, random() % (bytes.size() + 1));
    }
    Utf8Stream whole;
    std::string expected = whole.push(bytes);
    expected += whole.finish();
    CHECK(utf8_valid_prefix(expected) == expected.size());
    if (round % 2 == 0) CHECK(expected == bytes);
    Utf8Stream stream;
    std::string got;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t count = std::min<std::size_t>(random() % 4, bytes.size() - at);
      const std::string part = stream.push(std::string_view(bytes).substr(at, count));
      CHECK(utf8_valid_prefix(part) == part.size());
      got += part;
      at += count;
    }
    got += stream.finish();
    CHECK(got == expected);
  }
}

TEST_CASE("damaged bytes become one U+FFFD for each longest prefix") {
  const auto clean = [](std::string_view bytes) {
    Utf8Stream stream;
    std::string text = stream.push(bytes);
    return text + stream.finish();
  };
  const std::string bad = "\xef\xbf\xbd";
  CHECK(clean("a\xff"
              "b") == "a" + bad + "b");
  CHECK(clean("\xf0\x9f\x99") == bad);
  CHECK(clean("\xf0\x9f\x99x") == bad + "x");
  CHECK(clean("\xe0\x80\x80") == bad + bad + bad);  // overlong
  CHECK(clean("\xed\xa0\x80") == bad + bad + bad);  // surrogate
  CHECK(clean("\xf4\x90\x80\x80") == bad + bad + bad + bad);
  CHECK(clean("\xc3") == bad);
  Utf8Stream stream;
  CHECK(stream.push("\xc3") == "");
  CHECK(stream.push("\xa9") == "\xc3\xa9");
  CHECK(stream.finish() == "");
}
