#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <troupe/model/config/layer_range.h>
#include <troupe/runtime/kernels/kv_page.h>

// What people who run a cluster ask it for, and its answers. Plain values; fields.h names their
// fields.

namespace troupe {

// ---- its status -------------------------------------------------------------------------------

struct NodeStatus {
  std::string name;
  std::string address;  // HOST:PORT; "" in a process without sockets
  // "ready", "suspect", "unreachable" (it is there, but cannot be dialled), "dead" or "left".
  std::string state;
  std::string trouble;  // why it is unreachable, or ""
  std::string layers;   // "0-9", or "0-9,0-29" with two models; "": none
  std::string isa;      // of its kernels
  bool works = false;   // it may hold layers
  std::uint32_t threads = 0;
  std::uint64_t memory_bytes = 0;  // that it offers
  std::uint64_t weights_bytes = 0, kv_bytes = 0;
  std::uint64_t resident_bytes_max = 0;  // ever, by its process
  std::uint64_t steps = 0, positions = 0;
  std::uint64_t positions_out = 0, hidden_bytes_out = 0;  // sent to the next stage
  std::uint64_t weights_fetched_bytes = 0;                // from other nodes and clients
  std::uint64_t copied_bytes = 0;                         // of these, in the background
  std::uint64_t frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
  std::uint64_t stale_frames = 0, refused_frames = 0, damaged_frames = 0, refused_peers = 0;
};

struct StageStatus {
  std::string node, layers;
  std::uint64_t disks = 0;  // nodes that have any one of these layers on disk, at least
  std::uint64_t weights_bytes = 0;
};

struct DeploymentStatus {
  std::string model, sha256;
  std::uint64_t id = 0, epoch = 0;
  std::string state;              // "placing", "loading", "ready", "waiting" or "failed"
  bool replica = false;           // not the first deployment of this model
  std::optional<std::string> kv;  // "f16" or "f32"; absent: the model's default
  std::string activations;        // "f16" or "f32"
  std::vector<StageStatus> stages;
  bool busy = false;
  std::uint64_t running = 0, queued = 0;          // requests
  std::uint64_t requests = 0, tokens = 0;         // since it was loaded
  std::uint64_t credits = 0, credits_in_use = 0;  // steps that may be under way, and that are
  // Blocks of 64 positions that hold keys and values: of answers, kept for later ones, and of how
  // many there is room for (0: not known).
  std::uint64_t blocks_in_use = 0, blocks_idle = 0, blocks_max = 0;
  // Positions that were looked up among the blocks before they were computed, and those that were
  // there; requests that gave way to older ones while memory was short.
  std::uint64_t prefix_queried = 0, prefix_found = 0, preemptions = 0;
  std::optional<std::int64_t> keep_alive_s;  // absent: for ever
  std::optional<std::int64_t> unload_in_s;   // absent: busy, or never
};

struct ChannelCounters {
  std::uint64_t frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
};
// Of the process that answers, since it was started.
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
  std::string model;               // as GenerateRequest has it
  std::size_t context = 0;         // positions to keep keys and values for; 0: as generate() counts
  std::vector<std::string> nodes;  // names; empty: all
  std::vector<model::LayerRange> layers;  // empty: the coordinator's choice
  std::optional<kernels::KvType> kv_type;
};

struct PlannedStage {
  std::string node, layers;
  std::uint64_t memory_bytes = 0;
};
// Tokens per second.
struct PredictedSpeed {
  double prompt_tok_s = 0, decode_tok_s = 0;  // of a prompt alone, and of one stream
  std::uint64_t streams = 0;
  double streams_tok_s = 0;  // of that many streams together
};
struct EqualSplit {
  PredictedSpeed speed;
  std::string layers;  // "0-14,15-29"
};
struct ReplicatedSpeed {
  std::uint64_t streams = 0;  // shared out over all replicas
  double streams_tok_s = 0;
};
// The measured times of a stage with this number of layers, in microseconds.
struct StageTimes {
  std::uint32_t layers = 0;
  double layer_row_us = 0, layer_rows_us = 0;  // of a layer, in a step of one row, and of `rows`
  double head_row_us = 0, head_rows_us = 0;    // what the logits add to each
};
struct NodeTimes {
  StageTimes many;                // as many layers as fit
  std::optional<StageTimes> few;  // of a fifth of them, which caches do not keep between steps
  std::uint64_t rows = 0;
  double layer_prompt_row_us = 0;  // a layer, for each row of a prompt
  double weight_bytes_per_s = 0;   // that a step of one row reads
  double products_per_s = 0;       // that a prompt's rows do
  double cpu_share = 1;            // of the time, that a control group's quota leaves
};
struct PlanNode {
  std::string name, isa;
  std::uint32_t threads = 0;
  std::uint64_t memory_bytes = 0, memory_left_bytes = 0;
  std::optional<NodeTimes> cost;  // absent: not measured
};
struct PlanConnection {
  std::string from, to;  // names of nodes, or "engine"
  double latency_us = 0;
  std::optional<double> bytes_per_s;  // absent: many bytes took no longer than few
};
struct Plan {
  std::string model, sha256;
  std::uint64_t context = 0, memory_bytes = 0;
  std::vector<PlannedStage> stages;
  std::vector<std::vector<PlannedStage>> replicas;  // the stages of each further one
  std::optional<ReplicatedSpeed> with_replicas;     // absent: none, or not measured
  std::optional<PredictedSpeed> prediction;         // absent: not measured
  std::optional<EqualSplit> equal_split;            // absent: it does not fit, or not measured
  std::vector<std::string> whole_on;                // nodes that could hold the whole model
  std::vector<PlanNode> nodes;
  std::vector<PlanConnection> connections;
  std::string left_out;  // which nodes get no layers, and why; "" if there are none
};

// ---- models and keys --------------------------------------------------------------------------

struct UnloadedModel {
  std::string name, sha256;
  std::uint64_t deployments = 0;
};

// What a new token lets in.
struct TokenOptions {
  std::string role = "node";  // or "user", "server", "operator", "admin"
  int uses = 1;
  std::int64_t lifetime_s = 24 * 3600;  // 0: for ever
};
struct NewToken {
  std::string id;
  std::string token;  // TOKEN@HOST:PORT, a secret
  std::string role;
  std::uint32_t uses = 0;
  std::optional<std::int64_t> expires_unix_s;  // absent: never
};

// No secret is in it.
struct TokenStatus {
  std::string id;
  std::string role;  // of those whom it lets in
  std::uint32_t uses_left = 0;
  std::optional<std::int64_t> expires_in_s;  // absent: never; negative: it has expired
  bool usable = false;
  bool join = false;  // the token that `troupe start` prints
};
struct MemberStatus {
  std::string id, role, name;
  std::string state;
  std::string token;  // the id of the token that let it in; "": unknown
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

}  // namespace troupe
