#pragma once

#include <cstdint>
#include <span>

#include <troupe/runtime/net/transport.h>

// The number, name, channel, permitted senders and scope of every message, one row each; a number
// without a row does not compile. The link drops a frame whose type is unknown, that came on
// another channel, whose sender's role may not send it, or that is outside of its scope as far as
// the link can tell. docs/wire.md has the same table for people, and a test compares the two. The
// bodies are in the files beside this one, one file a subject.

namespace troupe::actors {

enum class MessageType : std::uint16_t {
  // membership.h
  kEnrol = 1,
  kEnrolled = 2,
  kHello = 8,
  kWelcome = 9,
  kRefused = 10,
  kHeartbeat = 11,
  kHeartbeatAck = 12,
  kLeave = 13,
  kStopDaemon = 14,
  // deploy.h
  kAllowPeers = 24,
  kPeersAllowed = 25,
  kServePeers = 26,
  kLoadStage = 27,
  kStageLoaded = 28,
  kStageFailed = 29,
  kUnloadStage = 30,
  kForgetPeers = 31,
  kPrefetch = 32,
  kPrefetched = 33,
  // measure.h
  kMeasure = 34,
  kMeasured = 35,
  kProbe = 36,
  kProbeAnswer = 37,
  // step.h
  kStep = 40,
  kStepDone = 41,
  kStepFailed = 42,
  // requests.h
  kOpenModel = 48,
  kModelReady = 49,
  kSubmit = 50,
  kCancel = 51,
  kTokens = 52,
  kFinished = 53,
  kStatusQuery = 56,
  kStatusReply = 57,
  // manage.h
  kManage = 59,
  kManaged = 60,
  // jobs.h
  kJobAsk = 80,
  kJobReply = 81,
  kJobKinds = 82,
  kJobTask = 83,
  kJobTaskDone = 84,
  // measure.h
  kPlanModel = 61,
  // bulk.h
  kServing = 64,
  kFetchBlob = 65,
  kBlobChunk = 66,
  kBlobMissing = 67,
};

constexpr std::uint8_t role_bit(net::Role role) {
  return static_cast<std::uint8_t>(1u << static_cast<unsigned>(role));
}

// Whose things a message may concern.
enum class Scope : std::uint8_t {
  kOrder,   // what the receiver's own head tells it; nobody else is a head to it
  kSelf,    // the sender's own membership, connection or disk: it has no field for another's
  kPath,    // a deployment in whose path the sender has the place that the message needs
  kOwn,     // what the sender made, was given or was asked for; what belongs to others looks absent
  kAsk,     // as rights.h decides about each ask
  kShared,  // the models and the state of the cluster, which are everybody's
};

struct MessageRow {
  MessageType type;
  const char* name;
  net::Channel channel;
  std::uint8_t senders;  // role_bit of every role that may send it
  Scope scope;
};
// Returns all rows in the order of their numbers.
std::span<const MessageRow> message_rows();
// Returns nullptr if there is no such message.
const MessageRow* find_message(std::uint16_t type);

}  // namespace troupe::actors
