#pragma once

#include <functional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <troupe/runtime/status.h>
#include <troupe/tools/troupe/verbs.h>

// The status of a cluster, fetched and shown: what `status`, `nodes` and `ps` have in common.

namespace troupe::tools {

// A verb that shows a part of the status.
struct View {
  std::string footer;
  // What --json prints.
  std::function<nlohmann::json(const nlohmann::json& status)> json;
  // What people see.
  std::function<void(const nlohmann::json& status, bool verbose)> print;
  bool watchable = false;  // has --watch and --interval (watch.h)
};
// Adds the common options and --cluster. The action connects as open_cluster says (this process is
// not a cluster here), asks and shows.
Action add_view(CLI::App& app, View view);

void print_nodes(const nlohmann::json& status);
void print_deployments(const nlohmann::json& status);
// The model, and in what a deployment differs from the usual: "smollm2-135m (replica, kv f32)".
std::string name_of(const nlohmann::json& deployment);
// How much longer a model stays loaded: "in use", "4m 10s", "forever", "-".
std::string stay_of(const nlohmann::json& deployment);
void print_counters(const nlohmann::json& status);

// A member as text, "" when absent; a number in its shortest form.
std::string text_of(const nlohmann::json& object, const char* key);
// A member that is an array, [] when absent.
nlohmann::json list_of(const nlohmann::json& object, const char* key);

}  // namespace troupe::tools
