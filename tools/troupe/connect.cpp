#include <cstdlib>
#include <utility>

#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/terminal/output.h>

namespace troupe::tools {

Result<std::string> choose_cluster(const std::string& home, const std::string& flag) {
  std::string address = flag;
  if (address.empty()) {
    if (const char* variable = std::getenv("TROUPE_CLUSTER")) address = variable;
  }
  if (address == "none") return std::string();
  if (!address.empty()) return address;
  Result<std::string> daemon = await_daemon_address(home);
  if (daemon.is_ok() || daemon.code() != Code::kNotFound) return daemon;
  return std::string();
}

Result<OpenCluster> open_cluster(const std::string& home, const std::string& flag, int threads,
                                 const std::string& device) {
  TROUPE_ASSIGN_OR_RETURN(const std::string address, choose_cluster(home, flag));
  if (!address.empty()) {
    if (!device.empty())
      return Status(Code::kInvalidArgument, "--device concerns this process, but the cluster at " +
                                                address + " was to be used; add --cluster none");
    TROUPE_ASSIGN_OR_RETURN(Cluster cluster, Cluster::connect({home, address}));
    say("using " + cluster.description());
    return OpenCluster{std::move(cluster), true};
  }
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, Cluster::local({home, threads, device}));
  say("using " + cluster.description() + (device.empty() ? "" : ", " + device));
  return OpenCluster{std::move(cluster), false};
}

Result<Cluster> connect_cluster(const std::string& home, const std::string& flag) {
  TROUPE_ASSIGN_OR_RETURN(const std::string address, choose_cluster(home, flag));
  if (address.empty()) {
    return Status(Code::kNotFound, "no daemon runs on the home " + resolve_home(home) +
                                       ": start one with `troupe start`, or name another with "
                                       "--cluster HOST:PORT");
  }
  TROUPE_ASSIGN_OR_RETURN(Cluster cluster, Cluster::connect({home, address}));
  say("using " + cluster.description());
  return cluster;
}

}  // namespace troupe::tools
