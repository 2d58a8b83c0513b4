#pragma once

#include <string>

#include <troupe/actors/troupe.h>

// Which cluster a verb speaks to. In this order: the flag, TROUPE_CLUSTER, this home's daemon, this
// process. "none" as the flag or the variable stands for this process.

namespace troupe::tools {

// The address to connect to; "" for this process.
Result<std::string> choose_cluster(const std::string& home, const std::string& flag);

struct OpenCluster {
  Cluster cluster;
  bool remote = false;  // false: this process
};
// Opens it and says on stderr which it is. `threads` and `device` ("cuda:0"; "": the CPU) are of
// this process.
//   Errors: kInvalidArgument if there is a device, but the cluster is not this process.
Result<OpenCluster> open_cluster(const std::string& home, const std::string& flag, int threads,
                                 const std::string& device = "");
// The same for verbs that make no sense without a cluster: kNotFound when it would be this process.
Result<Cluster> connect_cluster(const std::string& home, const std::string& flag);

}  // namespace troupe::tools
