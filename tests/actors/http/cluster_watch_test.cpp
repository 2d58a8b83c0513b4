#include <catch2/catch.hpp>

#include <troupe/actors/http/cluster_watch.h>

using namespace troupe;
using namespace troupe::http;

namespace {

constexpr std::int64_t kSecond = 1'000'000;

ClusterStatus computing(std::uint64_t steps, bool busy, const char* state = "ready") {
  ClusterStatus status;
  status.nodes.resize(1);
  status.nodes[0].steps = steps;
  status.deployments.resize(1);
  status.deployments[0].model_id = "m";
  status.deployments[0].state = state;
  status.deployments[0].credits_in_use = busy ? 1 : 0;
  return status;
}

}  // namespace

TEST_CASE("http watch: a cluster is in trouble when steps stop, never because it is busy") {
  Progress progress;
  progress.see(computing(0, false), {"m"}, 0);
  CHECK(progress.trouble().empty());
  // Idle for long.
  progress.see(computing(0, false), {"m"}, 100 * kSecond);
  CHECK(progress.trouble().empty());
  // The cluster is busy for a long time, and makes progress.
  for (int i = 1; i < 100; ++i) {
    progress.see(computing(static_cast<std::uint64_t>(i), true), {"m"}, (100 + i) * kSecond);
    CHECK(progress.trouble().empty());
  }
  progress.see(computing(99, true), {"m"}, 201 * kSecond);
  CHECK(progress.trouble().empty());
  // Four times the longest step that was seen: one second.
  progress.see(computing(99, true), {"m"}, 203 * kSecond + kSecond / 2);
  CHECK(!progress.trouble().empty());
  progress.see(computing(100, true), {"m"}, 204 * kSecond);
  CHECK(progress.trouble().empty());
  // The stall does not count as the length of a step: the next one is noticed as early.
  progress.see(computing(100, true), {"m"}, 208 * kSecond + kSecond / 2);
  CHECK(!progress.trouble().empty());
}

TEST_CASE("http watch: a model that is not placed, and a head that does not answer, are trouble") {
  Progress progress;
  progress.see(computing(0, false, "waiting"), {"m"}, 0);
  CHECK(!progress.trouble().empty());
  progress.see(computing(0, false), {"m"}, kSecond);
  CHECK(progress.trouble().empty());
  progress.see(computing(0, false), {"m", "other"}, kSecond);
  CHECK(!progress.trouble().empty());
  progress.see(Status(Code::kUnavailable, "the head does not answer"), {"m"}, kSecond);
  CHECK(progress.trouble() == "the head does not answer");
}
