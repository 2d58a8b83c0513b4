#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/runtime/log.h>

using namespace troupe;

TEST_CASE("log: silent without a sink, filtered with one", "[log]") {
  set_log_sink({});
  CHECK_FALSE(log_enabled(LogLevel::kError));
  log(LogLevel::kError, "nobody hears this");
  std::vector<std::string> seen;
  set_log_sink([&](LogLevel, std::string_view text) { seen.emplace_back(text); },
               LogLevel::kWarning);
  CHECK(log_enabled(LogLevel::kError));
  CHECK_FALSE(log_enabled(LogLevel::kInfo));
  log(LogLevel::kInfo, "too quiet");
  log(LogLevel::kWarning, "heard");
  log(LogLevel::kError, "heard too");
  CHECK(seen == std::vector<std::string>{"heard", "heard too"});
  set_log_sink({});
  log(LogLevel::kError, "nobody hears this");
  CHECK(seen.size() == 2);
}

TEST_CASE("log: threads log while the sink is replaced", "[log]") {
  std::atomic<int> heard{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      while (!stop) log(LogLevel::kError, "line");
    });
  }
  for (int i = 0; i < 200; ++i) {
    set_log_sink([&](LogLevel, std::string_view text) { heard += text == "line"; });
    set_log_sink({});
  }
  set_log_sink([&](LogLevel, std::string_view text) { heard += text == "line"; });
  while (heard == 0) std::this_thread::yield();
  stop = true;
  for (auto& thread : threads) thread.join();
  set_log_sink({});
  CHECK(heard > 0);
}

TEST_CASE("log: what others said can neither forge a line nor steer a terminal") {
  std::string line;
  set_log_sink([&](LogLevel, std::string_view text) { line = text; }, LogLevel::kDebug);
  const auto logged = [&](const std::string& text) {
    log(LogLevel::kInfo, text);
    return line;
  };
  CHECK(logged("Gr\u00fc\u00dfe, \u4f60\u597d \U0001F600") ==
        "Gr\u00fc\u00dfe, \u4f60\u597d \U0001F600");
  CHECK(logged("a\nnode b joined\r\t") == "a\\x0anode b joined\\x0d\\x09");
  CHECK(logged("\x1b[31mred\x7f") == "\\x1b[31mred\\x7f");
  CHECK(logged("\xc2\x9b"
               "31m") == "\\xc2\\x9b31m");  // the control sequence of eight bits
  CHECK(logged("\x9b"
               "31m\xff\xc3") == "\\x9b31m\\xff\\xc3");
  // An overlong form of U+001B, and half of a surrogate pair.
  CHECK(logged("\xe0\x80\x9b") == "\\xe0\\x80\\x9b");
  CHECK(logged("\xed\xa0\x80") == "\\xed\\xa0\\x80");
  CHECK(logged(std::string(1 << 20, 'x')).size() < kLogBytesMax + 32);
  CHECK(logged(std::string(1 << 20, '\0')).size() < kLogBytesMax + 32);
  set_log_sink({});
}
