#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <troupe/actors/messages/outcome.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/actors/messages/types.h>

// Jobs: clients submit them and ask about them, nodes map their shards. The client chooses the id
// of a job, so that asking again after a lost answer does nothing twice.

namespace troupe::actors {

// The limits on the bytes of one shard or output, and on the bytes of those in one message.
constexpr std::size_t kShardBytesMax = 4u << 20;
constexpr std::size_t kJobMessageBytesMax = 8u << 20;

enum class JobAskKind : std::uint8_t {
  kSubmit = 1,  // shards from `number` on; answered once they are on disk
  kList = 2,
  kShow = 3,
  kLines = 4,   // the lines of its log after `number`
  kOutput = 5,  // the output of shard `number`
  kResult = 6,  // the merged result, if its kind merges
  kCancel = 7,
  kStream = 8,  // an encoded OpenStream: an answer that was open when the head ended
};

struct JobAsk {
  static constexpr MessageType kType = MessageType::kJobAsk;
  std::uint64_t request = 0;
  std::uint8_t kind = 0;  // JobAskKind
  std::string id;
  std::uint64_t number = 0;
  // For kSubmit:
  std::string job_kind, spec;
  std::uint32_t shards = 0;  // number of shards of the whole job
  std::vector<std::string> inputs;
  template <class A>
  void serialize(A& a) {
    a(request, kind, id, number, job_kind, spec, shards, inputs);
  }
};
struct JobReply {
  static constexpr MessageType kType = MessageType::kJobReply;
  std::uint64_t request = 0;
  Outcome outcome;   // on success its text is a JSON object
  std::string data;  // for kOutput and kResult
  template <class A>
  void serialize(A& a) {
    a(request, outcome, data);
  }
};

// What the head needs to continue an answer.
struct OpenStream {
  OpenModel open;                      // without a manifest
  Submit submit;                       // as the client sent it
  std::vector<model::TokenId> tokens;  // those accepted; the newest ones may be missing
  template <class A>
  void serialize(A& a) {
    a(open, submit, tokens);
  }
};

// Node to head: the node's program maps and merges these kinds, and no others.
struct JobKinds {
  static constexpr MessageType kType = MessageType::kJobKinds;
  std::vector<std::string> kinds;
  template <class A>
  void serialize(A& a) {
    a(kinds);
  }
};
// Head to node: map `items[0]`, which is shard `shard`, or merge the items from left to right.
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
