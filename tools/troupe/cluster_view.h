#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include <troupe/runtime/status.h>

// The status of a cluster, fetched and shown: what `status`, `nodes` and `ps` have in common.

namespace troupe::tools {

// Connects as open_cluster says (this process is not a cluster here) and asks.
Result<nlohmann::json> fetch_status(const std::string& home, const std::string& cluster_flag);

void print_nodes(const nlohmann::json& status);
void print_deployments(const nlohmann::json& status);
void print_counters(const nlohmann::json& status);

// A member as text, "" when absent; a number in its shortest form.
std::string text_of(const nlohmann::json& object, const char* key);
// A member that is an array, [] when absent.
nlohmann::json list_of(const nlohmann::json& object, const char* key);

}  // namespace troupe::tools
