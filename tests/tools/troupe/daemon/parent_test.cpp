#include <csignal>

#include <catch2/catch.hpp>

#include <troupe/tools/troupe/daemon/parent.h>

namespace troupe::tools {
namespace {

using namespace std::chrono_literals;

TEST_CASE("parent: only what aborts is started again") {
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS}) CHECK(is_crash(number));
  for (const int number : {SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGPIPE}) CHECK(!is_crash(number));
}

TEST_CASE("parent: it gives up after five crashes within a minute") {
  RestartBudget budget;
  const RestartBudget::Clock::time_point begin{};
  for (int crash = 1; crash < RestartBudget::kCrashesMax; ++crash) {
    const auto pause = budget.crashed(begin + crash * 10s);
    REQUIRE(pause);
    CHECK(*pause > 0ms);
    CHECK(*pause < 1000ms);
  }
  CHECK(!budget.crashed(begin + 50s));
}

TEST_CASE("parent: crashes that are older than a minute do not count") {
  RestartBudget budget;
  const RestartBudget::Clock::time_point begin{};
  for (int crash = 0; crash < 100; ++crash) CHECK(budget.crashed(begin + crash * 15s));
}

}  // namespace
}  // namespace troupe::tools
