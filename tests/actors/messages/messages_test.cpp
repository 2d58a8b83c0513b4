#include <set>

#include <catch2/catch.hpp>

#include <troupe/actors/messages/bulk.h>
#include <troupe/actors/messages/deploy.h>
#include <troupe/actors/messages/jobs.h>
#include <troupe/actors/messages/manage.h>
#include <troupe/actors/messages/measure.h>
#include <troupe/actors/messages/membership.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/actors/messages/step.h>
#include <troupe/actors/messages/types.h>
#include <troupe/runtime/wire/codec.h>

using namespace troupe;
using namespace troupe::actors;

namespace {

// Checks that every truncation is refused, and that a message that decodes encodes to the same
// bytes.
template <class Message>
void check_message(const Message& message) {
  const std::vector<std::byte> bytes = wire::encode(message);
  const auto back = wire::decode<Message>(std::span<const std::byte>(bytes));
  REQUIRE(back);
  CHECK(wire::encode(*back) == bytes);
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto cut = wire::decode<Message>(std::span<const std::byte>(bytes).first(n));
    REQUIRE_FALSE(cut.is_ok());
  }
  std::vector<std::byte> longer = bytes;
  longer.push_back(std::byte{0});
  CHECK_FALSE(wire::decode<Message>(std::span<const std::byte>(longer)).is_ok());
}

}  // namespace

TEST_CASE("messages: the split that is asked for goes in and comes out, or is no split") {
  OpenModel open;
  CHECK(layer_ranges_of(open)->empty());
  for (const std::vector<model::LayerRange>& ranges :
       {std::vector<model::LayerRange>{{0, 10}, {10, 30}}, {{0, 7}}, {}}) {
    set_layer_ranges(ranges, &open);
    CHECK(*layer_ranges_of(open) == ranges);
  }
  open.layer_begins = {0, 10};
  open.layer_ends = {10};
  CHECK(layer_ranges_of(open).code() == Code::kInvalidArgument);
}

TEST_CASE("messages: every body survives the wire and no truncation does") {
  check_message(Enrol{{1, 2, 3}, {4, 5}, 1, "box", {6, 7}, {8}});
  check_message(Enrolled{{4}, 77, "calm-opera"});
  check_message(Hello{1, "box", "10.0.0.1", 7700, 8, 1u << 30, "pool", "avx2", 3, 9, "0.1"});
  check_message(Welcome{"box", "calm-opera", 200, 2000, 3});
  check_message(Refused{{3, "no"}, true});
  check_message(Heartbeat{5, {1, 2, 3, 4, 5, 6, 7, 8, 9}, {10, 11}, 1234, {"a disk", "a clock"}});
  model::Manifest manifest{"ab", "m", 10, {"cd", 4}, {{"t", 4, {"ef", 6}}}};
  check_message(AllowPeers{9, {{{1}, 1, "a", "h", 7}, {{2}, 2, "", "", 0}}, manifest, {{3}}});
  check_message(ServePeers{9, {{{1}, 1, "a", "h", 7}}, manifest, {{3}, {4}}});
  check_message(LoadStage{9, manifest, 0, 10, {5}, {{1}, 1, "a", "h", 7}, true, {{1}, {2}}});
  check_message(StageFailed{9, {4, "why"}, StageFailed::kNext});
  check_message(UnloadStage{9, true});
  check_message(Prefetch{manifest, 10, 20, {{{1}, 1, "a", "h", 7}}});
  check_message(Prefetched{"ab", 10, 20, 5, 3});
  check_message(Manage{7, 2, "node-2", true, 1, 3, 86400});
  check_message(Managed{7, {2, "why not"}});
  Step step;
  model::SamplingParams sampling{0.5f, 0.9f, 42, 3, 40, 0.1f, 0.9f, 1.1f, 0.5f, -0.5f, 5};
  sampling.logit_bias = {{7, 1.5f}, {9, -2.0f}};
  step.segments.push_back({1, 2, 3, 2, true, sampling, true, {4, 5}, {6, 7}, 1, 3, 5, 9, 2, 6});
  step.token_ids = {1, 2, 3};
  step.closed = {8};
  step.freed = {9, 10};
  step.trace = true;
  step.times = {{"a 0-9", 5, 6}};
  check_message(step);
  check_message(StepDone{{{1, 2, 3, {{3, -0.5f}, {4, -1.5f}}}}});
  check_message(StepDone{{}, {{1, 2, {{{3, -0.5f}, {4, -1.5f}}, {}}}}, {{"a 0-9", 5, 6}}});
  check_message(StepFailed{{1, 2}, {3, "why"}, true});
  check_message(OpenModel{1, "ab", true, manifest, {0, 10}, {10, 20}, 2, true, 512});
  check_message(ModelReady{1, {}, 9, {{"a", "0-9"}}, 9, "c, which b cannot reach"});
  check_message(Submit{
      1,    9,    "hi", {{"user", "x"}}, {1, 2}, {3}, "s", true, 5, {1, 1, 1}, {"a"}, true, 9, 8,
      "id", true, 1,    "key",           "salt", 64,  5,   true});
  check_message(Tokens{{{1, 2, 3, "x", {}}, {4, 0, 5, "", {}, {{{3, -0.5f}}}}}});
  Measure measure{7, true, manifest, 1, 32, 2304, {PeerAddress{}}, {PeerAddress{}}};
  check_message(measure);
  check_message(
      Measured{7, {}, {{9, 1, 2, 3, 4}, {8, 5, 6, 7, 8}, 9, 10, 11, 0.5, 2, 3}, {{{}, 100, 400}}});
  check_message(Probe{9});
  check_message(ProbeAnswer{9});
  check_message(
      PlanModel{1, OpenModel{1, "ab", true, manifest, {0}, {10}, 2, false, 0}, 2048, {"a", "b"}});
  check_message(Finished{1, "stop", {}, "text", {1}, {2, 3}, 1.5, 2.5, 3.5, {}});
  const TracedStep traced{4, 9, 0, 12, 5, 90, false, {{"a 0-9", 5, 6}, {"b 10-19", 7, 8}}};
  check_message(Finished{1, "stop", {}, "text", {1}, {2}, 1, 2, 3, {7, 100, {traced}}, 64});
  check_message(
      Finished{1, "length", {}, "", {1, 2}, {}, 0, 0, 1, {}, 0, 2.5, 3.5, {{{3, -0.5f}}}});
  check_message(BlobChunk{"ab", 7});
  check_message(JobAsk{7, 1, "id", 5, "generate", "{}", 9, {"one", "two"}});
  check_message(JobReply{7, {2, "why not"}, "bytes"});
  check_message(OpenStream{{1, "ab"}, {1, 9, "hi"}, {1, 2}});
  check_message(JobKinds{{"count", "sum"}});
  check_message(JobTaskOrder{7, "count", "id", "{}", true, 3, 9, {"a", "b"}});
  check_message(JobTaskDone{7, {2, "why not"}, "bytes"});
}

TEST_CASE("messages: an outcome is a status, and an unknown code an internal failure") {
  CHECK(Outcome().status().is_ok());
  CHECK(Outcome(Status::ok()).status().is_ok());
  const Status gone(Code::kUnavailable, "gone");
  CHECK(Outcome(gone).status().code() == Code::kUnavailable);
  CHECK(Outcome(gone).answer().message() == "gone");
  CHECK(*Outcome(Result<std::string>("{}")).answer() == "{}");
  const auto last = static_cast<std::uint8_t>(Code::kInternal);
  for (int code = 0; code < 256; ++code) {
    const Outcome outcome(static_cast<std::uint8_t>(code), "why");
    CHECK(static_cast<int>(outcome.status().code()) == (code <= last ? code : last));
  }
  // The bytes that messages had before they shared this struct.
  const auto bytes = wire::encode(Refused{{3, "no"}, true});
  const std::vector<int> expected = {3, 2, 0, 0, 0, 'n', 'o', 1};
  REQUIRE(bytes.size() == expected.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    CHECK(std::to_integer<int>(bytes[i]) == expected[i]);
  }
}

TEST_CASE("messages: a row each, and nobody but a head gives orders") {
  std::set<std::uint16_t> seen;
  for (const MessageRow& row : message_rows()) {
    CHECK(seen.insert(static_cast<std::uint16_t>(row.type)).second);
    CHECK(find_message(static_cast<std::uint16_t>(row.type)) == &row);
    CHECK(row.senders != 0);
    const bool enrolling = (row.senders & role_bit(net::Role::kEnrol)) != 0;
    CHECK(enrolling == (row.type == MessageType::kEnrol));
  }
  for (const MessageType order :
       {MessageType::kLoadStage, MessageType::kUnloadStage, MessageType::kForgetPeers,
        MessageType::kAllowPeers, MessageType::kStopDaemon, MessageType::kPrefetch}) {
    CHECK(find_message(static_cast<std::uint16_t>(order))->senders == role_bit(net::Role::kHead));
  }
  CHECK(find_message(9999) == nullptr);
}
