#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <caf/all.hpp>

#include <troupe/actors/messages/deploy.h>
#include <troupe/actors/messages/jobs.h>
#include <troupe/actors/messages/manage.h>
#include <troupe/actors/messages/measure.h>
#include <troupe/actors/messages/membership.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/actors/messages/step.h>
#include <troupe/model/tokenizer/token_id.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/runtime/device/device.h>
#include <troupe/runtime/net/transport.h>
#include <troupe/runtime/status.h>

// Every typed actor interface of Troupe and the mail that they take. Mail is immutable and shared
// by handle inside a process; between processes it travels as frames (actors/link.h).
// Only the actors room sees CAF.

namespace troupe::actors {

// ---- mail ----------------------------------------------------------------------------------

using FramePtr = std::shared_ptr<const net::InFrame>;

// An event of a connection that we dialled, or of a peer that had connected to us.
struct PeerEvent {
  enum class Kind { kConnected, kDisconnected, kLeft };
  Kind kind = Kind::kConnected;
  net::PublicKey peer{};
  net::Channel channel = net::Channel::kControl;
  Status why;
};
using PeerEventPtr = std::shared_ptr<const PeerEvent>;

using OpenPtr = std::shared_ptr<const OpenModel>;
using ReadyPtr = std::shared_ptr<const ModelReady>;
using SubmitPtr = std::shared_ptr<const Submit>;
using TokenPtr = std::shared_ptr<const Token>;
using FinishedPtr = std::shared_ptr<const Finished>;
using ManagePtr = std::shared_ptr<const Manage>;
using ManagedPtr = std::shared_ptr<const Managed>;
using JobAskPtr = std::shared_ptr<const JobAsk>;
using JobReplyPtr = std::shared_ptr<const JobReply>;
using MeasuredPtr = std::shared_ptr<const Measured>;
using PlanPtr = std::shared_ptr<const PlanModel>;
using StatusPtr = std::shared_ptr<const Status>;
using EnginePlacementPtr = std::shared_ptr<const struct EnginePlacement>;  // engine.h

// Work for the device's thread; it alone may touch the device.
using DeviceJob = std::function<void(Device&)>;
using DeviceJobPtr = std::shared_ptr<const DeviceJob>;

// Blobs to fetch before a stage can load.
struct FetchRequest {
  std::vector<model::BlobRef> blobs;
  std::vector<net::PublicKey> sources;
  bool background = false;  // this fetch can wait: others go first
  // Called once, on the bulk actor's thread, when all blobs are in the store, or with the reason
  // why they are not.
  std::function<void(Status, std::uint64_t bytes_fetched)> done;
};
using FetchPtr = std::shared_ptr<const FetchRequest>;
// A model file on this machine whose parts others may fetch.
struct ExportedFile {
  std::string path;
  model::Manifest manifest;
};
using ExportPtr = std::shared_ptr<const ExportedFile>;
// The peers that may fetch these parts of a model; no others may. A grant replaces the model's
// earlier one. A grant without peers only takes the earlier one away.
struct FetchGrant {
  std::string model;
  std::vector<model::BlobRef> parts;
  std::vector<net::PublicKey> peers;
};
using GrantPtr = std::shared_ptr<const FetchGrant>;

// The token ids of a prompt that the prompt reader has read, or the reason why there are none.
struct ReadPrompt {
  std::uint64_t request = 0;
  Result<std::vector<model::TokenId>> ids;
};
using ReadPromptPtr = std::shared_ptr<const ReadPrompt>;

class Journal;
using JournalWork = std::function<void(Journal&)>;
using JournalWorkPtr = std::shared_ptr<const JournalWork>;
using RegisteredKindPtr = std::shared_ptr<const struct RegisteredKind>;  // jobs/task_actor.h

// The outcome of fetching a stage's parts (if `fetched`), or of loading the stage.
struct StageResult {
  std::uint64_t epoch = 0;
  Status status;
  bool fetched = false;
  std::uint64_t fetched_bytes = 0;
  std::shared_ptr<model::Stage> stage;
};
using StageResultPtr = std::shared_ptr<const StageResult>;

// ---- atoms ---------------------------------------------------------------------------------

using open_atom = caf::atom_constant<caf::atom("open")>;
using submit_atom = caf::atom_constant<caf::atom("submit")>;
using cancel_atom = caf::atom_constant<caf::atom("cancel")>;
using status_atom = caf::atom_constant<caf::atom("status")>;
using manage_atom = caf::atom_constant<caf::atom("manage")>;
using job_atom = caf::atom_constant<caf::atom("job")>;
using plan_atom = caf::atom_constant<caf::atom("plan")>;
using stop_atom = caf::atom_constant<caf::atom("stop")>;
using tick_atom = caf::atom_constant<caf::atom("tick")>;
using fail_atom = caf::atom_constant<caf::atom("fail")>;
using loaded_atom = caf::atom_constant<caf::atom("loaded")>;
using idle_atom = caf::atom_constant<caf::atom("idle")>;
using halt_atom = caf::atom_constant<caf::atom("halt")>;
using resume_atom = caf::atom_constant<caf::atom("resume")>;
using resize_atom = caf::atom_constant<caf::atom("resize")>;
using service_atom = caf::atom_constant<caf::atom("service")>;
using join_atom = caf::atom_constant<caf::atom("join")>;

// ---- interfaces ----------------------------------------------------------------------------

// Takes the frames of one kind: a worker takes its steps, and an engine its results.
using frame_sink = caf::typed_actor<caf::reacts_to<FramePtr>>;
// A room of this process to which the link delivers frames.
using link_user = caf::typed_actor<caf::reacts_to<FramePtr>, caf::reacts_to<PeerEventPtr>>;

// Gets the tokens of a request: a Token for each, then one Finished. It is monitored: if it ends,
// its requests are cancelled.
using token_sink = caf::typed_actor<caf::reacts_to<TokenPtr>, caf::reacts_to<FinishedPtr>>;

// What a program asks of a cluster, whether the coordinator lives in this process or behind a
// connection. Submit.request is unique within the process that asks (next_request_id()).
using service_actor = caf::typed_actor<caf::replies_to<open_atom, OpenPtr>::with<ReadyPtr>,
                                       caf::reacts_to<submit_atom, SubmitPtr, token_sink>,
                                       caf::reacts_to<cancel_atom, std::uint64_t>,
                                       caf::replies_to<status_atom>::with<std::string>,
                                       caf::replies_to<manage_atom, ManagePtr>::with<ManagedPtr>,
                                       caf::replies_to<job_atom, JobAskPtr>::with<JobReplyPtr>,
                                       caf::replies_to<plan_atom, PlanPtr>::with<ManagedPtr>>;

// The head's coordinator: service, membership and placement.
using coordinator_actor =
    service_actor::extend<caf::reacts_to<FramePtr>, caf::reacts_to<PeerEventPtr>,
                          caf::reacts_to<tick_atom>,
                          caf::reacts_to<loaded_atom, std::uint64_t, StatusPtr>,
                          // (deployment, submits seen): an engine has nothing to do.
                          caf::reacts_to<idle_atom, std::uint64_t, std::uint64_t>,
                          // (deployment, epoch, why): a stage missed a step, and the deployment
                          // must be placed again.
                          caf::reacts_to<halt_atom, std::uint64_t, std::uint64_t, std::string>>;

// A deployment's engine, which keeps the token log, forms the steps and counts the credits.
using engine_actor = caf::typed_actor<
    caf::reacts_to<submit_atom, SubmitPtr, token_sink>, caf::reacts_to<cancel_atom, std::uint64_t>,
    caf::reacts_to<FramePtr>, caf::reacts_to<fail_atom, StatusPtr>, caf::reacts_to<tick_atom>,
    // A stage is lost (the argument names the worker that crashed, or is ""): the engine sends
    // nothing until the layers lie elsewhere, and then replays.
    caf::reacts_to<halt_atom, std::string>, caf::reacts_to<resume_atom, EnginePlacementPtr>,
    // The nodes have memory for this number of positions from now on; 0: not known.
    caf::reacts_to<resize_atom, std::uint64_t>, caf::reacts_to<ReadPromptPtr>>;

// Turns an engine's long prompts into token ids, each for a context of the given number of
// positions. Detached, because it computes.
using prompt_reader_actor = caf::typed_actor<caf::reacts_to<submit_atom, SubmitPtr, std::uint64_t>>;

// The device's thread, which runs one job after the other. Detached, because it computes.
using device_actor = caf::typed_actor<caf::reacts_to<DeviceJobPtr>>;

// Serves and fetches blobs. Detached, because it reads and writes files.
using bulk_actor =
    link_user::extend<caf::reacts_to<FetchPtr>, caf::reacts_to<ExportPtr>, caf::reacts_to<GrantPtr>,
                      // Nobody may fetch anything any more.
                      caf::reacts_to<halt_atom>, caf::reacts_to<tick_atom>>;

// A node's actor: membership on the node's side, and its stages.
using node_actor = link_user::extend<caf::reacts_to<join_atom>, caf::reacts_to<tick_atom>,
                                     caf::reacts_to<stop_atom, std::string>,
                                     caf::reacts_to<StageResultPtr>, caf::reacts_to<MeasuredPtr>>;

// The head's actor for jobs and their journal. Detached, because it waits for the disk.
using jobs_actor =
    link_user::extend<caf::replies_to<job_atom, JobAskPtr>::with<JobReplyPtr>,
                      // The actor that places models and answers prompts; sent once, before
                      // anything else.
                      caf::reacts_to<service_atom, service_actor>,
                      // The answer to a line of a generate job.
                      caf::reacts_to<FinishedPtr>, caf::reacts_to<tick_atom>,
                      // The node with this key (its bytes) is gone: its tasks go to other nodes.
                      caf::reacts_to<halt_atom, std::string>>;

// Maps and merges the shards of the kinds that this program registers. Detached, because it
// computes.
using task_actor = link_user::extend<caf::reacts_to<job_atom, RegisteredKindPtr>,
                                     // The head has welcomed this process, which must now tell the
                                     // head its kinds.
                                     caf::reacts_to<join_atom>>;

// Writes into the head's journal, in the order of its messages. Detached, because it waits for the
// disk.
using journal_actor = caf::typed_actor<caf::reacts_to<JournalWorkPtr>>;

// A client's side of a connection to a head.
using client_actor = service_actor::extend<caf::reacts_to<FramePtr>, caf::reacts_to<PeerEventPtr>,
                                           caf::reacts_to<join_atom>, caf::reacts_to<tick_atom>>;

// Returns a number that is unique in the process, and never 0.
std::uint64_t next_request_id();

}  // namespace troupe::actors

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::FramePtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::PeerEventPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::OpenPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::ReadyPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::SubmitPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::TokenPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::FinishedPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::ManagePtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::ManagedPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::JobAskPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::ReadPromptPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::JournalWorkPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::RegisteredKindPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::JobReplyPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::MeasuredPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::PlanPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::StatusPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::EnginePlacementPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::DeviceJobPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::StageResultPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::FetchPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::ExportPtr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::GrantPtr)
