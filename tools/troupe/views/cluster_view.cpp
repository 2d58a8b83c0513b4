#include <cstdio>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/units.h>
#include <troupe/tools/troupe/views/cluster_view.h>
#include <troupe/tools/troupe/views/to_json.h>

namespace troupe::tools {
namespace {

void print_flat(const std::string& prefix, const nlohmann::json& value) {
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) {
      print_flat(prefix.empty() ? key : prefix + "." + key, member);
    }
  } else {
    std::printf("%s  %s\n", prefix.c_str(), value.dump().c_str());
  }
}

}  // namespace

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

std::string stay_of(const DeploymentStatus& deployment) {
  if (deployment.busy) return "in use";
  if (deployment.unload_in_s) return format_duration(*deployment.unload_in_s);
  return deployment.keep_alive_s ? "-" : "forever";
}

std::string name_of(const DeploymentStatus& deployment) {
  std::string special = deployment.replica ? "replica" : "";
  const auto add = [&](const std::string& word) {
    special += (special.empty() ? "" : ", ") + word;
  };
  if (deployment.kv) add("kv " + *deployment.kv);
  if (deployment.activations == "f16") add("activations f16");
  return deployment.model + (special.empty() ? "" : " (" + special + ")");
}

void print_nodes(const ClusterStatus& status) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ADDRESS", "STATE", "LAYERS", "WEIGHTS", "KV", "THREADS"}};
  for (const NodeStatus& node : status.nodes) {
    rows.push_back({node.name, node.address, node.state, or_dash(node.layers),
                    format_bytes(node.weights_bytes), format_bytes(node.kv_bytes),
                    std::to_string(node.threads)});
  }
  print_table(rows);
  for (const NodeStatus& node : status.nodes) {
    if (!node.trouble.empty()) {
      std::printf("node %s gets no layers: the head cannot reach it: %s\n", node.name.c_str(),
                  node.trouble.c_str());
    }
    for (const std::string& trouble : node.troubles) {
      std::printf("node %s: %s\n", node.name.c_str(), trouble.c_str());
    }
  }
}

void print_deployments(const ClusterStatus& status) {
  if (status.deployments.empty()) {
    std::printf("no model is loaded; `troupe run MODEL \"prompt\"` loads one\n");
    return;
  }
  std::vector<std::vector<std::string>> rows = {
      {"MODEL", "STATE", "LAYERS", "WEIGHTS", "STAYS", "MODEL ID"}};
  for (const DeploymentStatus& deployment : status.deployments) {
    std::string layers;
    std::uint64_t bytes = 0;
    for (const StageStatus& stage : deployment.stages) {
      layers += (layers.empty() ? "" : ", ") + stage.layers + " on " + stage.node;
      bytes += stage.weights_bytes;
    }
    rows.push_back({name_of(deployment), deployment.state, layers, format_bytes(bytes),
                    stay_of(deployment), deployment.model_id.substr(0, 12)});
  }
  print_table(rows);
}

void print_counters(const ClusterStatus& status) { print_flat("", to_json(status.counters)); }

}  // namespace troupe::tools
