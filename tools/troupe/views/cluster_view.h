#pragma once

#include <string>

#include <troupe/actors/troupe/admin.h>

// Shows a cluster's status to people: tables on stdout, and the words in them.

namespace troupe::tools {

void print_nodes(const ClusterStatus& status);
void print_deployments(const ClusterStatus& status);
void print_counters(const ClusterStatus& status);

// Returns the model, and how a deployment differs from the default: "smollm2-135m (replica, kv
// f32)".
std::string name_of(const DeploymentStatus& deployment);
// Returns how much longer a model stays loaded: "in use", "4m 10s", "forever", "-".
std::string stay_of(const DeploymentStatus& deployment);
// Returns the text, or "-" for an empty one.
std::string or_dash(const std::string& text);

}  // namespace troupe::tools
