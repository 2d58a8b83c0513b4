#include <troupe/actors/facade/absent_client.h>
#include <troupe/actors/facade/cluster_impl.h>
#include <troupe/actors/facade/daemon.h>
#include <troupe/actors/jobs/generate_spec.h>
#include <troupe/actors/jobs/task_actor.h>
#include <troupe/actors/troupe.h>

// The facade for programs that are a head or a node themselves. Such a program has a daemon in its
// process, a connection of its own to the head for what a client asks, and kinds of jobs that it
// maps.

namespace troupe {
namespace {

Cluster with_daemon(Cluster cluster, Daemon daemon) {
  cluster.impl().daemon = std::make_shared<Daemon>(std::move(daemon));
  cluster.impl().tasks = actors::tasks_of(*cluster.impl().daemon);
  return cluster;
}

// Returns the HOST:PORT in TOKEN@HOST:PORT.
std::string without_token(const std::string& address) {
  return address.substr(address.rfind('@') + 1);
}

// Returns the Cluster of a node's program that may ask nothing of the cluster, because a node's
// token does not admit clients. It still maps shards of jobs.
Result<Cluster> without_client(const std::string& home, const std::string& address,
                               const Status& why) {
  auto impl = std::make_unique<Cluster::Impl>();
  TROUPE_ASSIGN_OR_RETURN(impl->process, actors::Process::open(home, nullptr));
  impl->may_ask = Status(
      Code::kPermissionDenied,
      "this program is a node of the cluster at " + address + " but not a client of it (" +
          why.message() +
          "): a node's token does not admit clients. Make a token with 'troupe key new --role "
          "user', and "
          "give it to Cluster::connect, or once to a command with the same --home");
  impl->service =
      impl->process->track(actors::spawn_absent_client(impl->process->system(), impl->may_ask));
  impl->local = false;
  impl->description = "cluster at " + address;
  return Cluster(std::move(impl));
}

// Connects as a client of the user who runs the head on this machine, or by the identity in HOME
// if a client's token has enrolled it. `join` is TOKEN@HOST:PORT or HOST:PORT.
Result<Cluster> client_of_joined(const std::string& home, const std::string& join) {
  const std::string address = without_token(join);
  auto cluster = Cluster::connect({home, address});
  if (!cluster && join != address) cluster = Cluster::connect({home, join});
  if (cluster) return cluster;
  return without_client(home, address, cluster.status());
}

}  // namespace

Result<Cluster> Cluster::start(const DaemonOptions& options) {
  DaemonOptions head = options;
  head.head = true;
  TROUPE_ASSIGN_OR_RETURN(Daemon daemon, Daemon::start(head));
  const std::string address = without_token(daemon.join_address());
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, Cluster::connect({options.home, address}));
  return with_daemon(std::move(cluster), std::move(daemon));
}

Result<Cluster> Cluster::join(const DaemonOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(Daemon daemon, Daemon::start(options));
  std::string address = options.join;
  if (address.empty()) {
    TROUPE_ASSIGN_OR_RETURN(address, joined_head(resolve_home(options.home)));
  }
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, client_of_joined(options.home, address));
  return with_daemon(std::move(cluster), std::move(daemon));
}

Status Cluster::register_job(const std::string& name, JobMap map, JobMerge merge) {
  if (name.empty() || name.size() > 64 || name == actors::kGenerateKind) {
    return Status(
        Code::kInvalidArgument,
        "'" + name.substr(0, 80) +
            "' cannot be the name of a job kind: a name has 1 to 64 bytes, and must not be "
            "that of one that the cluster has itself");
  }
  if (!map || !merge) {
    return Status(
        Code::kInvalidArgument,
        "the job kind '" + name + "' needs two functions, one that maps and one that merges");
  }
  if (!impl_->tasks) {
    return Status(Code::kFailedPrecondition,
                  "a connection maps no shards; join the cluster as a node (Cluster::join)");
  }
  const auto kind = std::make_shared<const actors::RegisteredKind>(
      actors::RegisteredKind{name, std::move(map), std::move(merge)});
  caf::anon_send(impl_->tasks, actors::job_atom::value, actors::RegisteredKindPtr(kind));
  return Status::ok();
}

std::string Cluster::join_address() const {
  return impl_->daemon ? impl_->daemon->join_address() : std::string();
}

Status Cluster::wait_daemon() {
  if (impl_->daemon) return impl_->daemon->wait();
  return Status(Code::kFailedPrecondition, "this program runs no daemon that could end");
}

}  // namespace troupe
