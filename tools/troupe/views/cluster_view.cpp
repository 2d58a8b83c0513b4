#include <cstdio>
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/units.h>
#include <troupe/tools/troupe/views/cluster_view.h>

namespace troupe::tools {
namespace {

std::string bytes_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) return "-";
  return format_bytes(found->get<std::uint64_t>());
}

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

std::string stay_of(const nlohmann::json& deployment) {
  if (deployment.value("busy", false)) return "in use";
  const auto left = deployment.find("unload_in_s");
  if (left != deployment.end() && left->is_number()) {
    return format_duration(left->get<std::int64_t>());
  }
  const auto keep = deployment.find("keep_alive_s");
  return keep != deployment.end() && keep->is_null() ? "forever" : "-";
}

std::string name_of(const nlohmann::json& deployment) {
  std::string special = deployment.value("replica", false) ? "replica" : "";
  const auto add = [&](const std::string& word) {
    special += (special.empty() ? "" : ", ") + word;
  };
  const std::string kv = text_of(deployment, "kv");
  if (!kv.empty()) add("kv " + kv);
  if (text_of(deployment, "activations") == "f16") add("activations f16");
  return text_of(deployment, "model") + (special.empty() ? "" : " (" + special + ")");
}

void print_nodes(const nlohmann::json& status) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ADDRESS", "STATE", "LAYERS", "WEIGHTS", "KV", "THREADS"}};
  for (const nlohmann::json& node : list_of(status, "nodes")) {
    const std::string layers = text_of(node, "layers");
    rows.push_back({text_of(node, "name"), text_of(node, "address"), text_of(node, "state"),
                    layers.empty() ? "-" : layers, bytes_of(node, "weights_bytes"),
                    bytes_of(node, "kv_bytes"), text_of(node, "threads")});
  }
  print_table(rows);
}

void print_deployments(const nlohmann::json& status) {
  const nlohmann::json deployments = list_of(status, "deployments");
  if (deployments.empty()) {
    std::printf("no model is loaded; `troupe run MODEL \"prompt\"` loads one\n");
    return;
  }
  std::vector<std::vector<std::string>> rows = {
      {"MODEL", "STATE", "LAYERS", "WEIGHTS", "STAYS", "SHA256"}};
  for (const nlohmann::json& deployment : deployments) {
    std::string layers;
    std::uint64_t bytes = 0;
    for (const nlohmann::json& stage : list_of(deployment, "stages")) {
      layers +=
          (layers.empty() ? "" : ", ") + text_of(stage, "layers") + " on " + text_of(stage, "node");
      bytes += stage.value("weights_bytes", std::uint64_t{0});
    }
    rows.push_back({name_of(deployment), text_of(deployment, "state"), layers, format_bytes(bytes),
                    stay_of(deployment), text_of(deployment, "sha256").substr(0, 12)});
  }
  print_table(rows);
}

void print_counters(const nlohmann::json& status) {
  const auto counters = status.find("counters");
  if (counters != status.end()) print_flat("", *counters);
}

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

nlohmann::json list_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_array() ? *found : nlohmann::json::array();
}

}  // namespace troupe::tools
