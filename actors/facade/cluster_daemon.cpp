#include <troupe/actors/facade/cluster_impl.h>
#include <troupe/actors/facade/daemon.h>
#include <troupe/actors/jobs/generate_spec.h>
#include <troupe/actors/jobs/task_actor.h>
#include <troupe/actors/troupe.h>

// The facade for programs that are a head or a node themselves: a daemon in this process, a
// connection of its own to the head for what a client asks, and kinds of jobs that it maps.

namespace troupe {
namespace {

// `address`: what a client of the daemon's head connects to.
Result<Cluster> with_client(Daemon daemon, const std::string& home, const std::string& address) {
  const auto shared = std::make_shared<Daemon>(std::move(daemon));
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, Cluster::connect({home, address}));
  cluster.impl().daemon = shared;
  cluster.impl().tasks = actors::tasks_of(*shared);
  return cluster;
}

}  // namespace

Result<Cluster> Cluster::start(const DaemonOptions& options) {
  DaemonOptions head = options;
  head.head = true;
  TROUPE_ASSIGN_OR_RETURN(Daemon daemon, Daemon::start(head));
  const std::string address = daemon.join_address();
  return with_client(std::move(daemon), options.home, address);
}

Result<Cluster> Cluster::join(const DaemonOptions& options) {
  TROUPE_ASSIGN_OR_RETURN(Daemon daemon, Daemon::start(options));
  std::string address = options.join;
  if (address.empty()) {
    TROUPE_ASSIGN_OR_RETURN(address, joined_head(resolve_home(options.home)));
  }
  return with_client(std::move(daemon), options.home, address);
}

Status Cluster::register_job(const std::string& name, JobMap map, JobMerge merge) {
  if (name.empty() || name.size() > 64 || name == actors::kGenerateKind) {
    return Status(Code::kInvalidArgument,
                  "'" + name.substr(0, 80) +
                      "' cannot be the name of a job kind, which has 1 to 64 bytes and is not "
                      "that of one that the cluster has itself");
  }
  if (!map || !merge) {
    return Status(Code::kInvalidArgument,
                  "the job kind '" + name + "' needs a function that maps and one that merges");
  }
  if (!impl_->tasks) {
    return Status(Code::kFailedPrecondition,
                  "a connection maps no shards; be a node of the cluster (Cluster::join)");
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
