#include <filesystem>
#include <stdexcept>

#include <catch2/catch.hpp>
#include <stdlib.h>

#include <troupe/actors/troupe.h>
#include <troupe/tests/actors/temporary_home.h>

// Jobs through the facade, everything in this process.

using namespace troupe;

namespace {

Cluster open(const TemporaryHome& home) {
  auto cluster = Cluster::local({home.path, 1});
  REQUIRE(cluster);
  return std::move(*cluster);
}

Result<std::string> upper(const std::string& shard, const JobContext& context) {
  if (shard == "bad") return Status(Code::kBadData, "it says 'bad'");
  if (shard == "throw") throw std::runtime_error("thrown");
  std::string text = std::to_string(context.shard) + ":";
  for (const char c : shard) text += static_cast<char>(std::toupper(c));
  return text;
}

Result<std::string> join(const std::string& left, const std::string& right) {
  return left + " " + right;
}

}  // namespace

TEST_CASE("local jobs: shards are mapped and merged in their order") {
  const TemporaryHome home;
  Cluster cluster = open(home);
  REQUIRE(cluster.register_job("upper", upper, join));
  JobRequest request{"mine", "upper", "{}", {}};
  std::string expected;
  for (int i = 0; i < 40; ++i) {
    request.shards.push_back("w" + std::to_string(i));
    expected += (i == 0 ? "" : " ") + std::to_string(i) + ":W" + std::to_string(i);
  }
  const auto id = cluster.submit(request);
  REQUIRE(id);
  CHECK(*id == "mine");
  const auto ended = cluster.wait(*id, 20'000);
  REQUIRE(ended);
  CHECK((ended->state == "done" && ended->finished == 40));
  CHECK(*cluster.job_result(*id) == expected);
  CHECK(*cluster.job_output(*id, 7) == "7:W7");
  // A job that is submitted again is the same job; with a change it is another one.
  CHECK(*cluster.submit(request) == "mine");
  request.shards.push_back("more");
  CHECK(cluster.submit(request).code() == Code::kAlreadyExists);
  CHECK(*cluster.cancel("mine") == false);
}

TEST_CASE("local jobs: what a map says or throws ends the job, with the shard") {
  const TemporaryHome home;
  Cluster cluster = open(home);
  REQUIRE(cluster.register_job("upper", upper, join));
  for (const std::string word : {"bad", "throw"}) {
    const auto id = cluster.submit({"", "upper", "{}", {"fine", word}});
    REQUIRE(id);
    const auto ended = cluster.wait(*id, 20'000);
    REQUIRE(ended);
    CHECK(ended->state == "failed");
    const std::string why = word == "bad" ? "it says 'bad'" : "threw: thrown";
    CHECK(ended->error.message().find("shard 1: ") == 0);
    CHECK(ended->error.message().find(why) != std::string::npos);
    CHECK(cluster.job_result(*id).code() == Code::kFailedPrecondition);
  }
}

TEST_CASE("local jobs: what cannot be is said") {
  const TemporaryHome home;
  Cluster cluster = open(home);
  CHECK(cluster.register_job("generate", upper, join).code() == Code::kInvalidArgument);
  CHECK(cluster.register_job("half", upper, nullptr).code() == Code::kInvalidArgument);
  CHECK(cluster.submit({"a b", "upper", "{}", {"x"}}).code() == Code::kInvalidArgument);
  CHECK(cluster.submit({"", "upper", "{}", {}}).code() == Code::kInvalidArgument);
  CHECK(cluster.submit({"", "upper", "{}", {std::string(5 << 20, 'x')}})
            .message()
            .find("cut it smaller") != std::string::npos);
  CHECK(cluster.job("nobody").code() == Code::kNotFound);
  // No worker maps this kind: the job waits, and can be cancelled.
  const auto id = cluster.submit({"", "unknown", "{}", {"x"}});
  REQUIRE(id);
  CHECK(cluster.wait(*id, 50).code() == Code::kDeadlineExceeded);
  CHECK(cluster.job(*id)->state == "waiting");
  CHECK(*cluster.cancel(*id));
  CHECK(cluster.wait(*id, 50)->state == "cancelled");
}
