#include <algorithm>
#include <array>

#include <troupe/actors/messages/types.h>

namespace troupe::actors {
namespace {

using net::Channel;
constexpr std::uint8_t kHead = role_bit(net::Role::kHead);
constexpr std::uint8_t kNode = role_bit(net::Role::kNode);
// The roles of clients; rights.h says what each of them may ask for.
constexpr std::uint8_t kClient = role_bit(net::Role::kClient) | role_bit(net::Role::kServer) |
                                 role_bit(net::Role::kOperator) | role_bit(net::Role::kAdmin);
constexpr std::uint8_t kEnrolling = role_bit(net::Role::kEnrol);

// Returns the row of a message. There is no default: a message without a row is an error of the
// compiler.
constexpr MessageRow row_of(MessageType type) {
  // Longer than 70 lines: it is a table, which the switch makes complete.
  switch (type) {
    case MessageType::kEnrol:
      return {type, "enrol", Channel::kControl, kEnrolling, Scope::kSelf};
    case MessageType::kEnrolled:
      return {type, "enrolled", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kHello:
      return {type, "hello", Channel::kControl, kHead | kNode | kClient, Scope::kSelf};
    case MessageType::kWelcome:
      return {type, "welcome", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kRefused:
      return {type, "refused", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kHeartbeat:
      return {type, "heartbeat", Channel::kControl, kHead | kNode, Scope::kSelf};
    case MessageType::kHeartbeatAck:
      return {type, "heartbeat_ack", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kLeave:
      return {type, "leave", Channel::kControl, kHead | kNode, Scope::kSelf};
    case MessageType::kStopDaemon:
      return {type, "stop_daemon", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kAllowPeers:
      return {type, "allow_peers", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kPeersAllowed:
      return {type, "peers_allowed", Channel::kControl, kHead | kNode, Scope::kOwn};
    case MessageType::kForgetPeers:
      return {type, "forget_peers", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kServePeers:
      return {type, "serve_peers", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kLoadStage:
      return {type, "load_stage", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kStageLoaded:
      return {type, "stage_loaded", Channel::kControl, kHead | kNode, Scope::kOwn};
    case MessageType::kStageFailed:
      return {type, "stage_failed", Channel::kControl, kHead | kNode, Scope::kOwn};
    case MessageType::kUnloadStage:
      return {type, "unload_stage", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kPrefetch:
      return {type, "prefetch", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kPrefetched:
      return {type, "prefetched", Channel::kControl, kHead | kNode, Scope::kSelf};
    case MessageType::kMeasure:
      return {type, "measure", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kMeasured:
      return {type, "measured", Channel::kControl, kHead | kNode, Scope::kOwn};
    case MessageType::kProbe:
      return {type, "probe", Channel::kActivations, kHead | kNode, Scope::kSelf};
    case MessageType::kProbeAnswer:
      return {type, "probe_answer", Channel::kActivations, kHead | kNode, Scope::kOwn};
    case MessageType::kStep:
      return {type, "step", Channel::kActivations, kHead | kNode, Scope::kPath};
    case MessageType::kStepDone:
      return {type, "step_done", Channel::kActivations, kHead | kNode, Scope::kPath};
    case MessageType::kStepFailed:
      return {type, "step_failed", Channel::kControl, kHead | kNode, Scope::kPath};
    case MessageType::kOpenModel:
      return {type, "open_model", Channel::kControl, kClient, Scope::kShared};
    case MessageType::kModelReady:
      return {type, "model_ready", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kSubmit:
      return {type, "submit", Channel::kControl, kClient, Scope::kOwn};
    case MessageType::kCancel:
      return {type, "cancel", Channel::kControl, kClient, Scope::kOwn};
    case MessageType::kTokens:
      return {type, "tokens", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kFinished:
      return {type, "finished", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kStatusQuery:
      return {type, "status_query", Channel::kControl, kClient, Scope::kShared};
    case MessageType::kStatusReply:
      return {type, "status_reply", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kManage:
      return {type, "manage", Channel::kControl, kClient, Scope::kAsk};
    case MessageType::kManaged:
      return {type, "managed", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kJobAsk:
      return {type, "job_ask", Channel::kControl, kClient, Scope::kAsk};
    case MessageType::kJobReply:
      return {type, "job_reply", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kJobKinds:
      return {type, "job_kinds", Channel::kControl, kHead | kNode, Scope::kSelf};
    case MessageType::kJobTask:
      return {type, "job_task", Channel::kControl, kHead, Scope::kOrder};
    case MessageType::kJobTaskDone:
      return {type, "job_task_done", Channel::kControl, kHead | kNode, Scope::kOwn};
    case MessageType::kPlanModel:
      return {type, "plan_model", Channel::kControl, kClient, Scope::kShared};
    case MessageType::kServing:
      return {type, "serving", Channel::kBulk, kClient, Scope::kSelf};
    case MessageType::kFetchBlob:
      return {type, "fetch_blob", Channel::kBulk, kHead | kNode, Scope::kOwn};
    case MessageType::kBlobChunk:
      return {type, "blob_chunk", Channel::kBulk, kHead | kNode | kClient, Scope::kOwn};
    case MessageType::kBlobMissing:
      return {type, "blob_missing", Channel::kBulk, kHead | kNode | kClient, Scope::kOwn};
  }
  return {type, nullptr, Channel::kControl, 0, Scope::kSelf};
}

constexpr std::uint16_t kNumbers = 128;  // every message has a smaller number

constexpr std::size_t kRowCount = [] {
  std::size_t count = 0;
  for (std::uint16_t number = 0; number < kNumbers; ++number) {
    if (row_of(static_cast<MessageType>(number)).name != nullptr) ++count;
  }
  return count;
}();

constexpr std::array<MessageRow, kRowCount> kRows = [] {
  std::array<MessageRow, kRowCount> rows{};
  std::size_t count = 0;
  for (std::uint16_t number = 0; number < kNumbers; ++number) {
    const MessageRow row = row_of(static_cast<MessageType>(number));
    if (row.name != nullptr) rows[count++] = row;
  }
  return rows;
}();

}  // namespace

std::span<const MessageRow> message_rows() { return kRows; }

const MessageRow* find_message(std::uint16_t type) {
  const auto row = std::find_if(std::begin(kRows), std::end(kRows), [type](const MessageRow& r) {
    return static_cast<std::uint16_t>(r.type) == type;
  });
  return row == std::end(kRows) ? nullptr : row;
}

}  // namespace troupe::actors
