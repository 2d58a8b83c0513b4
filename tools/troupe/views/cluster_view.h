#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

// What `status`, `nodes`, `ps` and their watch show of a cluster. Pure but for printing.

namespace troupe::tools {

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
