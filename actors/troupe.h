#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <troupe/actors/troupe/admin.h>
#include <troupe/actors/troupe/daemon.h>
#include <troupe/actors/troupe/generate.h>
#include <troupe/actors/troupe/jobs.h>
#include <troupe/actors/troupe/serve.h>
#include <troupe/runtime/log.h>
#include <troupe/runtime/status.h>

// The library for programs that embed Troupe: run models in this process or on a cluster, and be a
// daemon of one. No CAF, ZeroMQ or CUDA type here (users of CAF: <troupe/actors/attach.h>).
// The library prints nothing, installs no signal handler and throws nothing; set_log_sink
// (runtime/log.h) gives it a voice. Objects are movable handles; every call may come from any
// thread and calls on one Cluster may overlap. A moved-from object may only be destroyed.

namespace troupe {

struct LocalOptions {
  std::string home;  // "": TROUPE_HOME, else ~/.troupe
  int threads = 0;   // 0: every CPU that this process may use
  // What computes the layers: "" or "cpu", or a GPU such as "cuda:0". The bits are the same.
  std::string device = {};
};

struct ConnectOptions {
  std::string home;  // where this client's key lies
  // "HOST:PORT" of a head on this machine whose client key this user can read, or
  // "TOKEN@HOST:PORT" (the key is enrolled on first use).
  std::string cluster;
  int timeout_ms = 5000;
};

class Cluster {
 public:
  // Everything in this process: no socket, no daemon.
  static Result<Cluster> local(const LocalOptions& options);
  // A client of the head at options.cluster.
  //   Errors: kUnavailable (nobody listens), kPermissionDenied (token or key refused),
  //   kInvalidArgument (malformed), kDeadlineExceeded.
  static Result<Cluster> connect(const ConnectOptions& options);
  // A head, or a node that joins one (options.join), inside this program, and a client of it.
  // The program of a head is a client of its user. The program of a node is a client if it runs
  // under the head's user on the head's machine, or if a client's token has enrolled the identity
  // in its home; if not, it maps shards, and whatever else it asks fails with kPermissionDenied.
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

  // Answers HTTP requests in OpenAI's form with this cluster's models (docs/api.md), which are
  // loaded first. The server must end before the Cluster.
  //   Errors: kInvalidArgument (the options), kAlreadyExists (the port is in use), those of
  //   generate(); kResourceExhausted also if the models do not fit together.
  Result<HttpServer> serve(const ServeOptions& options);

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
  // Every job that the head knows; the newest 1000 of those that are over.
  Result<std::vector<JobStatus>> jobs();
  // What became of a job's shards, from the line after the one with the sequence number `after` on.
  // An answer may hold a part of it; no line means that there are no more yet.
  Result<JobLog> job_log(const std::string& id, std::uint64_t after);

  // The cluster as its head sees it.
  Result<ClusterStatus> status();
  // Measures the nodes, and says which layers would go where and how fast that would be. Loads
  // nothing.
  //   Errors: kResourceExhausted (memory: how much is missing), kNotFound (a name), those of
  //   generate().
  Result<Plan> plan(const PlanRequest& request);
  // Unloads a model: a name, a path, sha256:HEX, or the name that status() shows. `force` ends its
  // requests.
  //   Errors: kNotFound (not loaded), kFailedPrecondition (in use).
  Result<UnloadedModel> unload(const std::string& model, bool force);
  // The keys of the cluster; only a client of the head's own user may ask. A revoked node's frames
  // are dropped within a second.
  //   Errors: kPermissionDenied, kNotFound, kInvalidArgument, kResourceExhausted.
  Result<NewToken> new_token(const TokenOptions& options);
  Result<KeyList> keys();
  Result<RevokedKey> revoke_key(const std::string& id_or_name);
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

}  // namespace troupe
