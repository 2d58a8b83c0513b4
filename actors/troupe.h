#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <troupe/model/chat/chat_template.h>
#include <troupe/model/config/model_config.h>
#include <troupe/model/sampling/sampler.h>
#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/net/transport.h>
#include <troupe/runtime/status.h>

// The library for programs that embed Troupe: run models in this process or on a cluster, and be a
// daemon of one. No CAF, ZeroMQ or CUDA type here (users of CAF: <troupe/actors/attach.h>).
// The library prints nothing, installs no signal handler and throws nothing; set_log_sink
// (runtime/log.h) gives it a voice. Objects are movable handles; every call may come from any
// thread and calls on one Cluster may overlap. A moved-from object may only be destroyed.

namespace troupe {

// One prompt and how to continue it.
struct GenerateRequest {
  // A name in the store, a path to a GGUF file or a Hugging Face folder, or sha256:HEX of a whole
  // file.
  std::string model;
  // The prompt: exactly one of these three is not empty.
  std::string prompt;                        // text; with the chat template as a user's message
  std::vector<model::ChatMessage> messages;  // a conversation, always with the chat template
  std::vector<model::TokenId> prompt_ids;    // token ids, taken as they are
  std::string system;                        // a system message before `prompt`; "" for none
  bool raw = false;                          // `prompt` without the chat template
  // Tokens of this prompt's answer that were accepted before, for an answer that was cut off: it
  // goes on after them as if it had not been. They count in max_tokens and are in the result;
  // events begin with the first new one, whose index is their number.
  std::vector<model::TokenId> answer_ids;

  int max_tokens = 256;  // >= 1
  model::SamplingParams sampling;
  std::vector<std::string> stop;  // the text ends before the first of these
  bool trace = false;             // the result says where the time went
  // Go on to max_tokens, whatever end the model writes: for measurements.
  bool ignore_end = false;
  // Positions that prompt and answer may take; 0: the model's own limit. Layers that this request
  // places get memory for as many (0: for 4096, or the model's own).
  std::size_t context = 0;
  // Which node gets which layers, e.g. {0-9, 10-19, 20-29} in the order of `nodes`; empty: the
  // coordinator decides.
  std::vector<model::LayerRange> layers;
  // How keys and values are kept; absent: f32 when the weights are F32, else f16.
  std::optional<kernels::KvType> kv_type;
  // Round hidden states to f16 after every layer, wherever it runs: half the bytes between nodes,
  // and other bits than without it, but the same however the layers are split.
  bool f16_activations = false;
  // Ask the first deployment of the model, not one of the replicas that a cluster makes where a
  // model fits several times, and make none.
  bool no_replicas = false;
  int deadline_ms = 0;  // of the whole call; 0: ten minutes
  // Asked a few times a second while the answer is awaited, on the calling thread: true ends it,
  // also before its first token. May be empty.
  std::function<bool()> stop_asked = {};
};

struct TokenEvent {
  model::TokenId id = 0;
  std::string text;       // whole UTF-8 characters that this token completed; may be empty
  std::size_t index = 0;  // 0 for the first token of the answer
  // Where sampling.logprobs asks for them: the token's own log-probability, then those of the
  // likeliest tokens.
  std::vector<model::TokenLogprob> logprobs = {};
};
// Called on a thread of the library, one token after the other, never two at once for one call.
// Return false to cancel: the call then ends with finish_reason "cancelled", unless that token
// was its last. Must not call back into the Cluster from here and should be quick: it holds back
// this request, no other.
using TokenCallback = std::function<bool(const TokenEvent&)>;

struct StageReport {
  std::string node;    // its name
  std::string layers;  // "0-9"
};

// Where the time of one step of a request went, in microseconds. Stages measure how long a step
// waited for their device and how long it computed, each on its own clock; what is left of the time
// from sending the step to its answer was spent between them.
struct TraceStage {
  std::string name;  // "node-1 0-9": the node and its layers
  std::int64_t queue_us = 0, compute_us = 0;
};
struct TraceStep {
  std::size_t position = 0, rows = 0;         // of the request's own positions
  std::int64_t sent_us = 0, answered_us = 0;  // since the engine took the request
  bool lost = false;                          // with a node: its rows were computed again
  std::vector<TraceStage> stages;             // in their order
};
struct AnswerTrace {
  std::uint64_t request = 0;   // as the logs of the head and the nodes call it
  std::int64_t open_us = 0;    // until the model was loaded
  std::int64_t engine_us = 0;  // from when the engine took the request to its end
  std::int64_t total_us = 0;   // of the whole call
  std::vector<TraceStep> steps;
};

struct GenerateResult {
  std::string text;                       // without the end token's markup
  std::vector<model::TokenId> token_ids;  // with the end token
  std::vector<model::TokenId> prompt_token_ids;
  std::string finish_reason;  // "stop", "length", "cancelled" (by the caller) or "error"
  // When finish_reason is "error": what happened and what to do; the fields above hold what was
  // generated until then.
  Status error;
  // 0: not known, as the rate of an answer of one token, or all of one that was cancelled before
  // it.
  double prompt_tok_s = 0, decode_tok_s = 0, ttft_ms = 0;
  std::vector<StageReport> nodes;
  // When the head was lost on the way: by this id, the answer can be resumed (Cluster::resume).
  std::string stream;
  std::optional<AnswerTrace> trace;  // of a request that asked for it
};

struct LocalOptions {
  std::string home;  // "": TROUPE_HOME, else ~/.troupe
  int threads = 0;   // 0: every CPU that this process may use
};

struct ConnectOptions {
  std::string home;  // where this client's key lies
  // "HOST:PORT" of a head on this machine whose client key this user can read, or
  // "TOKEN@HOST:PORT" (the key is enrolled on first use).
  std::string cluster;
  int timeout_ms = 5000;
};

// What `plan` asks.
struct PlanRequest {
  std::string model;               // as GenerateRequest has it
  std::size_t context = 0;         // positions to keep keys and values for; 0: as generate() counts
  std::vector<std::string> nodes;  // names; empty: all
  std::vector<model::LayerRange> layers;  // empty: the coordinator's choice
  std::optional<kernels::KvType> kv_type;
};

// What a new token lets in.
struct TokenOptions {
  bool nodes = true, clients = false;
  int uses = 1;
  std::int64_t lifetime_s = 24 * 3600;  // 0: for ever
};

// Work that a cluster does by itself, whether or not anybody waits: shards that are mapped where
// there is room, each result kept by the head, in its journal. A submitted job survives the end of
// its client, of nodes and of the head.
struct JobRequest {
  // 1 to 64 letters, digits, '.', '_' or '-'; "": drawn. Submitting a job again under its id makes
  // no second one.
  std::string id;
  std::string kind;  // "generate", or one that programs of the cluster's nodes register
  // JSON, as the kind has it. Of "generate": actors/jobs/generate_spec.h, but for "model", which is
  // what GenerateRequest::model is; it is loaded before the job is handed in.
  std::string spec = "{}";
  // At most 4 MiB each. Of "generate": made by generate_shards().
  std::vector<std::string> shards;
};
struct JobStatus {
  std::string id, kind, spec;
  // "running", "waiting" (nobody works on it now), "done", "failed" or "cancelled"
  std::string state;
  std::uint32_t shards = 0, finished = 0;
  Status error;  // why it failed
  bool over() const { return state == "done" || state == "failed" || state == "cancelled"; }
};
// Where a shard that is mapped belongs.
struct JobContext {
  std::string job, spec;
  std::uint32_t shard = 0, shards = 0;
};
// Bytes to bytes, 4 MiB at most each. Both run on a thread of the library, one call at a time in a
// process; a map may be called twice for one shard, on two nodes, of which one result counts. An
// error with the code kUnavailable, kResourceExhausted, kDeadlineExceeded or kCancelled is tried
// again, any other ends the job.
using JobMap =
    std::function<Result<std::string>(const std::string& shard, const JobContext& context)>;
// Results of neighbouring shards to that of both, left to right in the order of the shards.
using JobMerge =
    std::function<Result<std::string>(const std::string& left, const std::string& right)>;

// Lines of a JSONL file as shards of a "generate" job; empty lines are left out.
std::vector<std::string> generate_shards(std::string_view jsonl);

struct DaemonOptions;
class Daemon;

class Cluster {
 public:
  // Everything in this process: no socket, no daemon.
  static Result<Cluster> local(const LocalOptions& options);
  // A client of the head at options.cluster.
  //   Errors: kUnavailable (nobody listens), kPermissionDenied (token or key refused),
  //   kInvalidArgument (malformed), kDeadlineExceeded.
  static Result<Cluster> connect(const ConnectOptions& options);
  // A head, or a node that joins one (options.join), inside this program, and a client of it.
  // Errors as Daemon::start. The daemon ends with the Cluster.
  static Result<Cluster> start(const DaemonOptions& options);
  static Result<Cluster> join(const DaemonOptions& options);
  Cluster(Cluster&&) noexcept;
  Cluster& operator=(Cluster&&) noexcept;
  ~Cluster();  // cancels what is under way

  // Loads the model where it is not loaded yet (a path is hashed here and served from here to the
  // nodes that need it) and generates. Blocks until the end. Errors before the first token come as
  // a Status; after it, in the result (finish_reason "error").
  Result<GenerateResult> generate(const GenerateRequest& request, const TokenCallback& on_token);

  // Goes on with an answer that was open when its head was lost: the same text, from the token with
  // the index `from` on, for the callback; the result has all of it.
  //   Errors: kNotFound (it has ended, or is too old), and those of generate().
  Result<GenerateResult> resume(const std::string& stream, std::size_t from,
                                const TokenCallback& on_token);

  // From now on this program maps shards of jobs of this kind, and merges their results: one of
  // local(), start() or join(). Jobs of a kind wait until a program registers it.
  //   Errors: kInvalidArgument (the name), kFailedPrecondition (a connection has no node).
  Status register_job(const std::string& name, JobMap map, JobMerge merge);
  // Of start(), the line for another machine: TOKEN@HOST:PORT; "" for others.
  std::string join_address() const;
  // Of start() and join(): as Daemon::wait.
  Status wait_daemon();

  // Hands a job in; its id once it is on the head's disk. Asks again, under the same id, while the
  // head is away for a while (half a minute); so do the calls below.
  //   Errors: kAlreadyExists (the id is that of another job), kInvalidArgument (names the field or
  //   the line), kResourceExhausted (the head's disk), kUnavailable.
  Result<std::string> submit(const JobRequest& request);
  // kNotFound: no such job.
  Result<JobStatus> job(const std::string& id);
  // Until the job is over; kDeadlineExceeded after `timeout_ms` (-1: never).
  Result<JobStatus> wait(const std::string& id, int timeout_ms = -1);
  // False: it was over already. What was finished of it stays.
  Result<bool> cancel(const std::string& id);
  // The output of one shard; kNotFound while it has none.
  Result<std::string> job_output(const std::string& id, std::uint32_t shard);
  // Of a job that is done: the merged result; of "generate" its lines, in the order of the input.
  Result<std::string> job_result(const std::string& id);
  // {"jobs":[...]}, and {"lines":[{"sequence","unix_ms","text"}],"over"}: the log after a line.
  Result<std::string> jobs_json();
  Result<std::string> job_lines_json(const std::string& id, std::uint64_t after);

  // The cluster as JSON: {"role","cluster","nodes":[...],"deployments":[...],"counters":{...}}.
  Result<std::string> status_json();
  // Measures the nodes, and says which layers would go where and how fast that would be, as JSON:
  // {"model","sha256","context","memory_bytes","stages":[{"node","layers","memory_bytes"}],
  // "replicas":[stages of each further one], "with_replicas":{...}, "prediction":{...},
  // "equal_split":{...} (null where it does not fit), "whole_on":[names], "nodes":[...],
  // "ways":[...]}; `troupe plan --help` says more. Loads nothing.
  //   Errors: kResourceExhausted (memory: how much is missing), kNotFound (a name), those of
  //   generate().
  Result<std::string> plan(const PlanRequest& request);
  // Lets go of a model: a name, a path, sha256:HEX, or the name that status_json() shows. `force`
  // ends its requests. The answer is JSON, {"unloaded","sha256","deployments"}.
  //   Errors: kNotFound (not loaded), kFailedPrecondition (in use).
  Result<std::string> unload(const std::string& model, bool force);
  // The keys of the cluster; only a client of the head's own user may ask. The answers are JSON:
  // {"id","token","nodes","clients","uses","expires_unix_s"}, {"tokens":[...],"members":[...]} (no
  // secret in it) and {"revoked","text"}. A revoked node's frames are dropped within a second.
  //   Errors: kPermissionDenied, kNotFound, kInvalidArgument, kResourceExhausted.
  Result<std::string> new_token(const TokenOptions& options);
  Result<std::string> keys_json();
  Result<std::string> revoke_key(const std::string& id_or_name);
  // Ends the daemon that we are connected to (`everywhere`: its whole cluster).
  Status stop(bool everywhere);
  // What the command says on stderr: "this process", or "cluster of NAME at HOST:PORT".
  std::string description() const;

  // For <troupe/actors/attach.h> only.
  struct Impl;
  explicit Cluster(std::unique_ptr<Impl> impl);
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

struct DaemonOptions {
  std::string home;  // "": TROUPE_HOME, else ~/.troupe
  std::string name;  // "": host name (made unique by the head)
  bool head = false;
  bool work = true;                         // false: a head that holds no layers
  net::Endpoint listen{"127.0.0.1", 7700};  // control PORT, tensors PORT + 1 and PORT + 2
  std::optional<net::Endpoint> advertise;   // what others dial; absent: `listen`
  // TOKEN@HOST:PORT, of a node; "": the cluster that this home joined before.
  std::string join;
  int threads = 0;
  // For layers, keys and values; 0: the machine's, or what its control group leaves.
  std::uint64_t memory_bytes = 0;
  // A head's: how long a model stays loaded after its last request; -1: for ever.
  std::int64_t keep_alive_s = 300;
};

// A node daemon inside this process: what `troupe start` runs.
class Daemon {
 public:
  // Returns when ready: a head listens; a node has enrolled and was welcomed by its head.
  //   Errors: kAlreadyExists (port in use, or a daemon of this home runs already),
  //   kPermissionDenied (token refused), kUnavailable (no head there), kInvalidArgument (also when
  //   a node's home is to be a head's, or the other way round).
  static Result<Daemon> start(const DaemonOptions& options);
  Daemon(Daemon&&) noexcept;
  Daemon& operator=(Daemon&&) noexcept;
  ~Daemon();  // as stop()

  // What another machine needs: "TOKEN@HOST:PORT". "" for a node.
  std::string join_address() const;
  std::string name() const;
  // Blocks until request_stop() or a stop command from the cluster; a node also returns, with a
  // Status that says why, when its head has told it to leave.
  Status wait();
  // The same, for at most `timeout_ms` (-1: for ever); nothing when it goes on.
  std::optional<Status> wait_for(int timeout_ms);
  // Since when the daemon has not moved: a few hundred milliseconds, unless it hangs.
  int stalled_ms() const;
  // May be called from a signal handler: it only writes to an eventfd.
  void request_stop() noexcept;
  // Leaves the cluster, ends the actors; bounded by two seconds.
  void stop();

  // For the library's own files.
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  explicit Daemon(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The address of the head whose cluster this home joined as a node, HOST:PORT; "" when it is no
// node's home. kBadData names a file that cannot be read.
Result<std::string> joined_head(const std::string& home);

// Where a home is: `home` if given, else TROUPE_HOME, else ~/.troupe.
std::string resolve_home(const std::string& home);
// The head's address of the cluster that the daemon of this home belongs to, as its run file says;
// kNotFound when no daemon runs on this home.
Result<std::string> daemon_address(const std::string& home);
// Ends the daemon of this home, head or node, and waits until it has ended (5 s at most).
//   Errors: kNotFound (none runs), kDeadlineExceeded, kPermissionDenied.
Status stop_daemon(const std::string& home);

}  // namespace troupe
