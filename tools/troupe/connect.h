#pragma once

#include <string>

#include <troupe/actors/troupe.h>

// Chooses the cluster that a verb uses. It takes, in this order: the flag, TROUPE_CLUSTER, this
// home's daemon, this process. "none" as the flag or the variable means this process.

namespace troupe::tools {

// Returns the address to connect to; "" means this process.
Result<std::string> choose_cluster(const std::string& home, const std::string& flag);

struct OpenCluster {
  Cluster cluster;
  bool remote = false;  // false for this process
};
// Opens the cluster and says on stderr which one it is. `threads` and `device` ("cuda:0"; "" for
// the CPU) matter only for this process.
//   Errors: kInvalidArgument if there is a device, but the cluster is not this process.
Result<OpenCluster> open_cluster(const std::string& home, const std::string& flag, int threads,
                                 const std::string& device = "");
// Does the same for verbs that make no sense without a cluster.
//   Errors: also kNotFound if it would be this process.
Result<Cluster> connect_cluster(const std::string& home, const std::string& flag);

}  // namespace troupe::tools
