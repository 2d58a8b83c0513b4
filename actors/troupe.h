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

// The library for programs that embed Troupe: they can run models in this process or on a cluster,
// and be a daemon of one. No type of CAF, ZeroMQ or CUDA appears here (for CAF there is
// <troupe/actors/attach.h>). The library prints nothing, installs no signal handler and throws
// nothing; set_log_sink (runtime/log.h) receives its log. Objects are movable handles. Every call
// may come from any thread, and calls on one Cluster may overlap. A moved-from object may only be
// destroyed.

namespace troupe {

struct LocalOptions {
  std::string home;  // if "", TROUPE_HOME, else ~/.troupe
  int threads = 0;   // 0 means every CPU that this process may use
  // The device that computes the layers: "" or "cpu", or a GPU such as "cuda:0". The bits are the
  // same.
  std::string device = {};
};

struct ConnectOptions {
  std::string home;  // holds this client's key
  // "HOST:PORT" of a head on this machine whose client key this user can read, or
  // "TOKEN@HOST:PORT" (the key is enrolled on first use).
  std::string cluster;
  // How long to wait for a head, or for its key: the head may be restarting.
  int timeout_ms = 5000;
  // How long to wait for a head that accepts the connection but is too busy to answer.
  int busy_timeout_ms = 30000;
};

class Cluster {
 public:
  // Runs everything in this process, without sockets or a daemon.
  static Result<Cluster> local(const LocalOptions& options);
  // Connects as a client to the head at options.cluster.
  //   Errors: kUnavailable (nobody listens), kPermissionDenied (token or key refused),
  //   kInvalidArgument (malformed), kDeadlineExceeded.
  static Result<Cluster> connect(const ConnectOptions& options);
  // Starts a head (start), or a node that joins one (join, with options.join), inside this program,
  // and a client of it. The program of a head is a client of its user. The program of a node is a
  // client if it runs under the head's user on the head's machine, or if a client's token has
  // enrolled the identity in its home; if not, it maps shards, and everything else that it asks
  // fails with kPermissionDenied. The errors are those of Daemon::start. The daemon ends with the
  // Cluster.
  static Result<Cluster> start(const DaemonOptions& options);
  static Result<Cluster> join(const DaemonOptions& options);
  Cluster(Cluster&&) noexcept;
  Cluster& operator=(Cluster&&) noexcept;
  ~Cluster();  // cancels the requests under way

  // Loads the model if it is not loaded yet (a file is hashed here, and served from here to the
  // nodes that need it), and generates. Blocks until the end. An error before the first token is
  // returned as a Status; a later one is in the result (finish_reason "error").
  Result<GenerateResult> generate(const GenerateRequest& request, const TokenCallback& on_token);

  // Continues an answer that was open when its head was lost. The text is the same; the callback
  // gets the tokens from the index `from` on, and the result has the whole answer.
  //   Errors: kNotFound (it has ended, or is too old), and those of generate().
  Result<GenerateResult> resume(const std::string& stream, std::size_t from,
                                const TokenCallback& on_token);

  // Answers HTTP requests in OpenAI's form with this cluster's models (docs/api.md), which are
  // loaded first. The server must end before the Cluster.
  //   Errors: kInvalidArgument (the options), kAlreadyExists (the port is in use), those of
  //   generate(), kResourceExhausted also if the models do not fit together.
  Result<HttpServer> serve(const ServeOptions& options);

  // Lets this program, whose Cluster must come from local(), start() or join(), map shards of jobs
  // of this kind and merge their results from now on. Jobs of a kind wait until a program registers
  // the kind.
  //   Errors: kInvalidArgument (the name), kFailedPrecondition (a connection has no node).
  Status register_job(const std::string& name, JobMap map, JobMerge merge);
  // Returns, after start(), the address for another machine, TOKEN@HOST:PORT; otherwise "".
  std::string join_address() const;
  // After start() and join(), does what Daemon::wait does.
  Status wait_daemon();

  // Submits a job, and returns its id once it is on the head's disk. If the head is away, asks
  // again under the same id for half a minute; so do the calls below.
  //   Errors: kAlreadyExists (the id belongs to another job), kInvalidArgument (names the field or
  //   the line), kResourceExhausted (the head's disk), kUnavailable.
  Result<std::string> submit(const JobRequest& request);
  // Errors: kNotFound (no such job).
  Result<JobStatus> job(const std::string& id);
  // Waits until the job is over.
  //   Errors: kDeadlineExceeded (after `timeout_ms`; -1 means no limit).
  Result<JobStatus> wait(const std::string& id, int timeout_ms = -1);
  // Ends a job. Returns false if it was over already. Results that are there stay.
  Result<bool> cancel(const std::string& id);
  // Returns the output of one shard.
  //   Errors: kNotFound (it has none yet).
  Result<std::string> job_output(const std::string& id, std::uint32_t shard);
  // Returns the result of a job that is done: the merged result, or for "generate" its lines in the
  // order of the input.
  Result<std::string> job_result(const std::string& id);
  // Returns every job that the head knows; of those that are over, only the newest 1000.
  Result<std::vector<JobStatus>> jobs();
  // Returns what happened to a job's shards: the lines after the one with the sequence number
  // `after`. One answer may hold only some of them; an answer without lines means that there are no
  // more yet.
  Result<JobLog> job_log(const std::string& id, std::uint64_t after);

  // Returns the cluster as its head sees it.
  Result<ClusterStatus> status();
  // Measures the nodes, and says which layers would go where and how fast that would be. Loads
  // nothing.
  //   Errors: kResourceExhausted (memory; the text says how much is missing), kNotFound (a name),
  //   those of generate().
  Result<Plan> plan(const PlanRequest& request);
  // Unloads a model: a name, a path, model:HEX, sha256:HEX, or the name that status() shows.
  // `force` ends its requests.
  //   Errors: kNotFound (not loaded), kFailedPrecondition (in use).
  Result<UnloadedModel> unload(const std::string& model, bool force);
  // Moves all layers from the node of this name to others, and gives it no more; the answers under
  // way go on. With `undo` it gets layers again.
  //   Errors: kNotFound, kFailedPrecondition (the node is not there), kUnavailable and
  //   kResourceExhausted
  //   (the other nodes have no room: nothing changes).
  Result<DrainedNode> drain(const std::string& node, bool undo = false);
  // Returns the last things that happened to the cluster's nodes and models.
  Result<EventList> events();
  // These make, list and revoke the keys of the cluster. Only admins may call them, among them
  // clients of the head's own user. A revoked node's frames are dropped within a second.
  //   Errors: kPermissionDenied, kNotFound, kInvalidArgument, kResourceExhausted.
  Result<NewToken> new_token(const TokenOptions& options);
  Result<KeyList> keys();
  Result<RevokedKey> revoke_key(const std::string& id_or_name);
  // Approves a newcomer that a head with DaemonOptions::approve has turned away: it is let in when
  // it comes again.
  Result<ApprovedKey> approve_key(const std::string& id_or_name);
  // Ends the daemon to which we are connected, or with `everywhere` its whole cluster.
  Status stop(bool everywhere);
  // Returns the name that the command shows on stderr: "this process", or "cluster of NAME at
  // HOST:PORT".
  std::string description() const;

  // For <troupe/actors/attach.h> only.
  struct Impl;
  explicit Cluster(std::unique_ptr<Impl> impl);
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace troupe
