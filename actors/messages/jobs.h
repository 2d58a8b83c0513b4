#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/messages/outcome.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/actors/messages/types.h>

// Jobs: clients hand them in and ask about them, nodes map their shards. A job has an id of the
// client's choosing, so that asking again after a lost answer does nothing twice.

namespace troupe::actors {

// Bytes of one shard, or of one output; a message carries at most so many of them together.
constexpr std::size_t kShardBytesMax = 4u << 20;
constexpr std::size_t kJobMessageBytesMax = 8u << 20;

enum class JobAskKind : std::uint8_t {
  kSubmit = 1,  // shards from `number` on; answered when they are on the disk
  kList = 2,
  kShow = 3,
  kLines = 4,   // of its log, after `number`
  kOutput = 5,  // of shard `number`
  kResult = 6,  // of a kind that merges
  kCancel = 7,
  kStream = 8,  // an OpenStream, encoded: an answer that was open when the head ended
};

struct JobAsk {
  static constexpr MessageType kType = MessageType::kJobAsk;
  std::uint64_t request = 0;
  std::uint8_t kind = 0;  // JobAskKind
  std::string id;
  std::uint64_t number = 0;
  // kSubmit
  std::string job_kind, spec;
  std::uint32_t shards = 0;  // of the whole job
  std::vector<std::string> inputs;
  template <class A>
  void serialize(A& a) {
    a(request, kind, id, number, job_kind, spec, shards, inputs);
  }
};
struct JobReply {
  static constexpr MessageType kType = MessageType::kJobReply;
  std::uint64_t request = 0;
  Outcome outcome;   // its text on success is a JSON object
  std::string data;  // kOutput, kResult
  template <class A>
  void serialize(A& a) {
    a(request, outcome, data);
  }
};

// What is needed to go on with an answer.
struct OpenStream {
  OpenModel open;                      // without a manifest
  Submit submit;                       // as it was asked
  std::vector<model::TokenId> tokens;  // accepted; the newest ones may be missing
  template <class A>
  void serialize(A& a) {
    a(open, submit, tokens);
  }
};

// Node to head: its program maps and merges these kinds, and no others.
struct JobKinds {
  static constexpr MessageType kType = MessageType::kJobKinds;
  std::vector<std::string> kinds;
  template <class A>
  void serialize(A& a) {
    a(kinds);
  }
};
// Head to node: map `items[0]`, the shard `shard`; or merge the items, from left to right.
struct JobTaskOrder {
  static constexpr MessageType kType = MessageType::kJobTask;
  std::uint64_t attempt = 0;
  std::string kind, job, spec;
  bool merge = false;
  std::uint32_t shard = 0, shards = 0;
  std::vector<std::string> items;
  template <class A>
  void serialize(A& a) {
    a(attempt, kind, job, spec, merge, shard, shards, items);
  }
};
struct JobTaskDone {
  static constexpr MessageType kType = MessageType::kJobTaskDone;
  std::uint64_t attempt = 0;
  Outcome outcome;
  std::string output;
  template <class A>
  void serialize(A& a) {
    a(attempt, outcome, output);
  }
};

}  // namespace troupe::actors
