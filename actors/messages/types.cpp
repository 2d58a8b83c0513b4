#include <algorithm>

#include <troupe/actors/messages/types.h>

namespace troupe::actors {
namespace {

using net::Channel;
constexpr std::uint8_t kHead = role_bit(net::Role::kHead);
constexpr std::uint8_t kNode = role_bit(net::Role::kNode);
// Every client; rights.h divides what they may ask.
constexpr std::uint8_t kClient = role_bit(net::Role::kClient) | role_bit(net::Role::kServer) |
                                 role_bit(net::Role::kOperator) | role_bit(net::Role::kAdmin);
constexpr std::uint8_t kEnrolling = role_bit(net::Role::kEnrol);

constexpr MessageRow kRows[] = {
    {MessageType::kEnrol, "enrol", Channel::kControl, kEnrolling},
    {MessageType::kEnrolled, "enrolled", Channel::kControl, kHead},
    {MessageType::kHello, "hello", Channel::kControl, kHead | kNode | kClient},
    {MessageType::kWelcome, "welcome", Channel::kControl, kHead},
    {MessageType::kRefused, "refused", Channel::kControl, kHead},
    {MessageType::kHeartbeat, "heartbeat", Channel::kControl, kHead | kNode},
    {MessageType::kHeartbeatAck, "heartbeat_ack", Channel::kControl, kHead},
    {MessageType::kLeave, "leave", Channel::kControl, kHead | kNode},
    {MessageType::kStopDaemon, "stop_daemon", Channel::kControl, kHead},
    {MessageType::kAllowPeers, "allow_peers", Channel::kControl, kHead},
    {MessageType::kPeersAllowed, "peers_allowed", Channel::kControl, kHead | kNode},
    {MessageType::kForgetPeers, "forget_peers", Channel::kControl, kHead},
    {MessageType::kServePeers, "serve_peers", Channel::kControl, kHead},
    {MessageType::kLoadStage, "load_stage", Channel::kControl, kHead},
    {MessageType::kStageLoaded, "stage_loaded", Channel::kControl, kHead | kNode},
    {MessageType::kStageFailed, "stage_failed", Channel::kControl, kHead | kNode},
    {MessageType::kUnloadStage, "unload_stage", Channel::kControl, kHead},
    {MessageType::kPrefetch, "prefetch", Channel::kControl, kHead},
    {MessageType::kPrefetched, "prefetched", Channel::kControl, kHead | kNode},
    {MessageType::kMeasure, "measure", Channel::kControl, kHead},
    {MessageType::kMeasured, "measured", Channel::kControl, kHead | kNode},
    {MessageType::kProbe, "probe", Channel::kActivations, kHead | kNode},
    {MessageType::kProbeAnswer, "probe_answer", Channel::kActivations, kHead | kNode},
    {MessageType::kStep, "step", Channel::kActivations, kHead | kNode},
    {MessageType::kStepDone, "step_done", Channel::kActivations, kHead | kNode},
    {MessageType::kStepFailed, "step_failed", Channel::kControl, kHead | kNode},
    {MessageType::kOpenModel, "open_model", Channel::kControl, kClient},
    {MessageType::kModelReady, "model_ready", Channel::kControl, kHead},
    {MessageType::kSubmit, "submit", Channel::kControl, kClient},
    {MessageType::kCancel, "cancel", Channel::kControl, kClient},
    {MessageType::kTokens, "tokens", Channel::kControl, kHead},
    {MessageType::kFinished, "finished", Channel::kControl, kHead},
    {MessageType::kStatusQuery, "status_query", Channel::kControl, kClient},
    {MessageType::kStatusReply, "status_reply", Channel::kControl, kHead},
    {MessageType::kManage, "manage", Channel::kControl, kClient},
    {MessageType::kManaged, "managed", Channel::kControl, kHead},
    {MessageType::kJobAsk, "job_ask", Channel::kControl, kClient},
    {MessageType::kJobReply, "job_reply", Channel::kControl, kHead},
    {MessageType::kJobKinds, "job_kinds", Channel::kControl, kHead | kNode},
    {MessageType::kJobTask, "job_task", Channel::kControl, kHead},
    {MessageType::kJobTaskDone, "job_task_done", Channel::kControl, kHead | kNode},
    {MessageType::kPlanModel, "plan_model", Channel::kControl, kClient},
    {MessageType::kServing, "serving", Channel::kBulk, kClient},
    {MessageType::kFetchBlob, "fetch_blob", Channel::kBulk, kHead | kNode},
    {MessageType::kBlobChunk, "blob_chunk", Channel::kBulk, kHead | kNode | kClient},
    {MessageType::kBlobMissing, "blob_missing", Channel::kBulk, kHead | kNode | kClient},
};

}  // namespace

std::span<const MessageRow> message_rows() { return kRows; }

const MessageRow* find_message(std::uint16_t type) {
  const auto row = std::find_if(std::begin(kRows), std::end(kRows), [type](const MessageRow& r) {
    return static_cast<std::uint16_t>(r.type) == type;
  });
  return row == std::end(kRows) ? nullptr : row;
}

}  // namespace troupe::actors
