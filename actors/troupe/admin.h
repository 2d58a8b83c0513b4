#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <troupe/model/config/layer_range.h>
#include <troupe/runtime/kernels/kv_page.h>

// What people who run a cluster ask of it, and its answers. Plain values; fields.h has the names of
// their fields.

namespace troupe {

// ---- its status -------------------------------------------------------------------------------

struct NodeStatus {
  std::string name;
  std::string address;  // HOST:PORT; "" in a process without sockets
  // "ready", "suspect", "unreachable" (it is there, but cannot be dialled), "dead" or "left".
  std::string state;
  std::string trouble;  // why it is unreachable; "" if it is not
  // What else is wrong with its machine, clock or version: sentences that say what to do.
  std::vector<std::string> troubles;
  std::string program;  // the version of Troupe that it runs
  std::string layers;   // "0-9", or "0-9,0-29" with two models; "" if none
  std::string isa;      // of its kernels
  bool works = false;   // it may hold layers
  std::uint32_t threads = 0;
  std::uint64_t memory_bytes = 0;  // the memory that it offers
  std::uint64_t weights_bytes = 0, kv_bytes = 0;
  std::uint64_t resident_bytes_max = 0;  // the largest that its process ever had
  std::uint64_t steps = 0, positions = 0;
  std::uint64_t positions_out = 0, hidden_bytes_out = 0;  // sent to the next stage
  std::uint64_t weights_fetched_bytes = 0;                // from other nodes and clients
  std::uint64_t copied_bytes = 0;  // those of them that were fetched in the background
  std::uint64_t frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
  std::uint64_t stale_frames = 0, refused_frames = 0, damaged_frames = 0, refused_peers = 0;
};

struct StageStatus {
  std::string node, layers;
  std::uint64_t disks = 0;  // the minimum number of nodes that have any one of these layers on disk
  std::uint64_t weights_bytes = 0;
};

// What one asker of this client (an HTTP server's key, by its name) has of a deployment, and had
// since it was loaded. The numbers are those of DeploymentStatus.
struct AskerStatus {
  std::string asker;
  std::uint64_t blocks_in_use = 0, blocks_idle = 0;
  std::uint64_t prefix_queried = 0, prefix_found = 0, preemptions = 0;
  std::uint64_t drafted = 0, accepted = 0;
};

struct DeploymentStatus {
  std::string model;  // its name
  std::string model_id;
  std::string sha256;  // of its whole file, if the head's own store has it
  std::uint64_t id = 0, epoch = 0;
  std::string state;              // "placing", "loading", "ready", "waiting" or "failed"
  bool replica = false;           // not the first deployment of this model
  std::optional<std::string> kv;  // "f16" or "f32"; absent means the model's default
  std::string activations;        // "f16" or "f32"
  std::vector<StageStatus> stages;
  bool busy = false;
  std::uint64_t running = 0, queued = 0;   // requests
  std::uint64_t requests = 0, tokens = 0;  // since it was loaded
  // The steps that may be under way, and those that are.
  std::uint64_t credits = 0, credits_in_use = 0;
  // Blocks of 64 positions with keys and values: those of answers, those kept for later answers,
  // and the number for which there is room (0 if it is not known).
  std::uint64_t blocks_in_use = 0, blocks_idle = 0, blocks_max = 0;
  // Positions that were looked up among the blocks before they were computed, and those that were
  // there; requests that gave way to older ones while memory was short.
  std::uint64_t prefix_queried = 0, prefix_found = 0, preemptions = 0;
  // Tokens of answers that were drafted before they were computed, and those that came true.
  std::uint64_t drafted = 0, accepted = 0;
  std::vector<AskerStatus> askers;           // this client's, among the 256 askers that asked last
  std::optional<std::int64_t> keep_alive_s;  // absent means forever
  std::optional<std::int64_t> unload_in_s;   // absent if it is busy or stays forever
};

struct ChannelCounters {
  std::uint64_t frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
};
// The counters of the process that answers, since its start.
struct ClusterCounters {
  std::uint64_t frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
  std::uint64_t rejected_header = 0, rejected_checksum = 0, rejected_sequence = 0,
                rejected_cluster = 0, rejected_revoked = 0, rejected_version = 0;
  std::uint64_t refused_keys = 0, closed_unproven = 0, send_overflow = 0;
  std::uint64_t replacements = 0, replays = 0, replayed_tokens = 0, quarantined = 0;
  std::uint64_t stale_frames = 0, wrong_role_frames = 0, unknown_frames = 0, undecodable_frames = 0;
  std::map<std::string, ChannelCounters> channels;  // "control", "activations", "bulk"
};

struct ClusterStatus {
  std::string role;     // of the process that answers: "head" or "local"
  std::string cluster;  // its name; "" in a process without sockets
  std::vector<NodeStatus> nodes;
  std::vector<DeploymentStatus> deployments;
  ClusterCounters counters;
};

// ---- a plan -----------------------------------------------------------------------------------

struct PlanRequest {
  std::string model;  // as in GenerateRequest
  // Positions to keep keys and values for; 0 means the number that generate() would use.
  std::size_t context = 0;
  std::vector<std::string> nodes;         // names; empty means all nodes
  std::vector<model::LayerRange> layers;  // empty means that the coordinator chooses
  std::optional<kernels::KvType> kv_type;
};

struct PlannedStage {
  std::string node, layers;
  std::uint64_t memory_bytes = 0;
};
// Tokens per second.
struct PredictedSpeed {
  double prompt_tok_s = 0, decode_tok_s = 0;  // the rates of a prompt alone, and of one stream
  std::uint64_t streams = 0;
  double streams_tok_s = 0;  // the rate of this number of streams together
};
struct EqualSplit {
  PredictedSpeed speed;
  std::string layers;  // "0-14,15-29"
};
struct ReplicatedSpeed {
  std::uint64_t streams = 0;  // their number; they are distributed over all replicas
  double streams_tok_s = 0;
};
// The measured times of a stage with this number of layers, in microseconds.
struct StageTimes {
  std::uint32_t layers = 0;
  // The time that a layer takes in a step of one row, and in a step of `rows` rows.
  double layer_row_us = 0, layer_rows_us = 0;
  double head_row_us = 0, head_rows_us = 0;  // the time that the logits add to each step
};
struct NodeTimes {
  StageTimes many;  // measured with as many layers as fit
  // Measured with a fifth as many layers, while other work took the caches between the steps.
  std::optional<StageTimes> few;
  std::uint64_t rows = 0;
  double layer_prompt_row_us = 0;  // of a layer, for each row of a prompt
  double weight_bytes_per_s = 0;   // the rate at which a step of one row reads weights
  double products_per_s = 0;       // the rate of multiplications in a prompt's rows
  double cpu_share = 1;            // the part of the time that a control group's quota leaves
};
struct PlanNode {
  std::string name, isa;
  std::uint32_t threads = 0;
  std::uint64_t memory_bytes = 0, memory_left_bytes = 0;
  std::optional<NodeTimes> cost;  // absent if not measured
};
struct PlanConnection {
  std::string from, to;  // names of nodes, or "engine"
  double latency_us = 0;
  std::optional<double> bytes_per_s;  // absent if many bytes took no longer than few
};
struct Plan {
  std::string model, model_id, sha256;  // as DeploymentStatus has them
  std::uint64_t context = 0, memory_bytes = 0;
  std::vector<PlannedStage> stages;
  std::vector<std::vector<PlannedStage>> replicas;  // the stages of each further replica
  // Absent if there are no replicas, or nothing was measured.
  std::optional<ReplicatedSpeed> with_replicas;
  std::optional<PredictedSpeed> prediction;  // absent if not measured
  std::optional<EqualSplit> equal_split;     // absent if it does not fit, or nothing was measured
  std::vector<std::string> whole_on;         // nodes that could hold the whole model
  std::vector<PlanNode> nodes;
  std::vector<PlanConnection> connections;
  std::string left_out;  // which nodes get no layers, and why; "" if there are none
};

// ---- models and keys --------------------------------------------------------------------------

struct UnloadedModel {
  std::string name, model_id, sha256;  // as DeploymentStatus has them
  std::uint64_t deployments = 0;
};

// A node that is about to go.
struct DrainedNode {
  std::string node;
  bool draining = false;           // false: it gets layers again
  std::vector<std::string> moved;  // the models whose layers move from it
  bool is_head = false;            // it holds no layers then, but the cluster needs it
};

struct ClusterEvent {
  std::int64_t unix_ms = 0;
  std::string event;    // "joined", "lost" ...: docs/wire.md lists them
  std::string subject;  // the name of a node or a model
  std::string text;     // why; may be empty
};
struct EventList {
  std::vector<ClusterEvent> events;  // oldest first
};

// What a new token should allow.
struct TokenOptions {
  std::string role = "node";  // or "user", "server", "operator", "admin"
  int uses = 1;
  std::int64_t lifetime_s = 24 * 3600;  // 0 means forever
};
struct NewToken {
  std::string id;
  std::string token;  // TOKEN@HOST:PORT, a secret
  std::string role;
  std::uint32_t uses = 0;
  std::optional<std::int64_t> expires_unix_s;  // absent means never
};

// Contains no secret.
struct TokenStatus {
  std::string id;
  std::string role;  // of the processes that it lets in
  std::uint32_t uses_left = 0;
  // Absent means never; negative means that it has expired.
  std::optional<std::int64_t> expires_in_s;
  bool usable = false;
  bool join = false;  // the token that `troupe start` prints
};
struct MemberStatus {
  std::string id, role, name;
  std::string state;
  std::string token;  // the id of the token that let it in; "" if not known
};
struct KeyList {
  std::string cluster;
  std::vector<TokenStatus> tokens;
  std::vector<MemberStatus> members;
};
struct RevokedKey {
  std::string id;
  std::string text;  // a sentence for people
};
struct ApprovedKey {
  std::string id;
  std::string text;  // a sentence for people
};

}  // namespace troupe
