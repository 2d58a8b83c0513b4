#include <algorithm>
#include <span>

#include <nlohmann/json.hpp>

#include <troupe/actors/cluster_state/placement.h>
#include <troupe/actors/coordinator/deployment_spec.h>
#include <troupe/actors/coordinator/left_out.h>
#include <troupe/actors/coordinator/plan_text.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/planning/memory_need.h>
#include <troupe/runtime/clock.h>

namespace troupe::actors::coordinator {
namespace {

using nlohmann::json;

json prediction_json(const PlacementPreview& preview, std::span<const model::LayerRange> ranges) {
  if (preview.measured.costs.empty()) return nullptr;
  const model::Prediction found = model::predict(preview.shape, preview.measured, ranges);
  return {{"prompt_tok_s", found.prompt_tok_s},
          {"decode_tok_s", found.decode_tok_s},
          {"streams", model::kPlanStreams},
          {"streams_tok_s", found.streams_tok_s}};
}

// Shares the layers equally among the nodes, if they fit.
json equal_json(const PlacementPreview& preview, const model::MemoryNeed& need) {
  const std::size_t nodes = std::min(preview.nodes.size(), preview.shape.layers);
  const auto ranges = model::split_layers(preview.shape.layers, std::vector<std::size_t>(nodes, 1));
  if (!ranges) return nullptr;
  std::string layers;
  for (std::size_t i = 0; i < ranges->size(); ++i) {
    if (need.of((*ranges)[i]) > preview.memories[i]) return nullptr;
    layers += (i == 0 ? "" : ",") + model::to_string((*ranges)[i]);
  }
  json out = prediction_json(preview, *ranges);
  if (!out.is_null()) out["layers"] = layers;
  return out;
}

json node_json(const PlacementPreview& preview, std::size_t i) {
  const NodeRecord& node = *preview.nodes[i];
  json out = {{"name", node.name},
              {"threads", node.threads},
              {"isa", node.isa},
              {"memory_bytes", node.memory_bytes},
              {"memory_left_bytes", preview.memories[i]},
              {"cost", nullptr}};
  if (preview.measured.costs.empty()) return out;
  const model::LayerCost& cost = preview.measured.costs[i];
  const auto step_json = [](const model::StepCost& step) {
    return json{{"layers", step.layers},
                {"layer_row_us", step.row_us},
                {"layer_rows_us", step.rows_us},
                {"head_row_us", step.head_row_us},
                {"head_rows_us", step.head_rows_us}};
  };
  out["cost"] = step_json(cost.many);
  out["cost"]["few"] = cost.few.layers != 0 ? step_json(cost.few) : json();
  out["cost"]["rows"] = model::kCostRows;
  out["cost"]["layer_prompt_row_us"] = cost.prompt_row_us;
  out["cost"]["weights_bytes_s"] = cost.weight_bytes_per_s;
  out["cost"]["products_s"] = cost.products_per_s;
  out["cost"]["cpu_share"] = cost.share;
  return out;
}

// Returns the connections between the nodes, and those to the engine if its process is none of the
// nodes.
json links_json(const PlacementPreview& preview, const net::PublicKey& engine) {
  json out = json::array();
  const std::size_t nodes = preview.nodes.size();
  bool apart = true;
  for (const NodeRecord* node : preview.nodes) apart = apart && node->key != engine;
  const std::size_t ends = std::min(nodes + (apart ? 1 : 0), preview.measured.links.size());
  const auto name = [&](std::size_t i) { return i == nodes ? "engine" : preview.nodes[i]->name; };
  for (std::size_t from = 0; from < ends; ++from) {
    for (std::size_t to = 0; to < ends; ++to) {
      if (from == to) continue;
      const model::LinkCost& link = preview.measured.links[from][to];
      out.push_back({{"from", name(from)},
                     {"to", name(to)},
                     {"latency_us", link.latency_us},
                     {"bytes_s", nullptr}});
      // If many bytes took no longer than few, the bandwidth is unknown.
      if (link.bytes_per_us > 0) out.back()["bytes_s"] = link.bytes_per_us * 1e6;
    }
  }
  return out;
}

json stages_json(const PlacementPreview& preview, const model::MemoryNeed& need) {
  json stages = json::array();
  for (std::size_t i = 0; i < preview.nodes.size(); ++i) {
    const model::LayerRange range = preview.ranges[i];
    if (range.begin == range.end) continue;
    stages.push_back({{"node", preview.nodes[i]->name},
                      {"layers", model::to_string(range)},
                      {"memory_bytes", need.of(range)}});
  }
  return stages;
}

model::Placement placement_in(const PlacementPreview& preview) {
  return {preview.shape, preview.measured, preview.ranges};
}

// Returns the placements of one replica after the other, each on the nodes that the earlier ones
// leave, as long as streams gain by them.
std::vector<PlacementPreview> replicas_of(const ClusterState& cluster, const Deployment& deployment,
                                          const PlacementPreview& all) {
  std::vector<PlacementPreview> replicas{all};
  std::vector<model::Placement> placements{placement_in(all)};
  std::vector<const NodeRecord*> left = all.nodes;
  for (;;) {
    const PlacementPreview& last = replicas.back();
    for (std::size_t i = 0; i < last.nodes.size(); ++i) {
      if (last.ranges[i].begin < last.ranges[i].end) std::erase(left, last.nodes[i]);
    }
    if (left.size() < std::max<std::size_t>(1, deployment.asked.size())) return replicas;
    std::vector<std::string> names;
    for (const NodeRecord* node : left) names.push_back(node->name);
    auto next = preview_placement(cluster, deployment, names);
    if (!next) return replicas;
    placements.push_back(placement_in(*next));
    if (!model::replica_pays(placements)) return replicas;
    replicas.push_back(std::move(*next));
  }
}

json together_json(const std::vector<model::Placement>& replicas) {
  if (replicas.front().nodes.costs.empty()) return nullptr;
  return {{"streams", model::kPlanStreams},
          {"streams_tok_s", model::predict_together(replicas, model::kPlanStreams)}};
}

}  // namespace

Result<std::string> plan_text(const HeadState& head, const Opening& opening, std::uint64_t context,
                              const std::vector<std::string>& nodes) {
  const ClusterState& cluster = head.cluster;
  TROUPE_ASSIGN_OR_RETURN(const auto source, head.setup->store->source(opening.open.manifest));
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
  if (context > config.context_max) {
    return Status(Code::kInvalidArgument, "a context of " + std::to_string(context) +
                                              " positions is more than the model's " +
                                              std::to_string(config.context_max));
  }
  context = planned_context(config, context);
  TROUPE_ASSIGN_OR_RETURN(DeploymentSpec spec, spec_of(head, opening, context));
  Deployment deployment(std::move(spec));
  deployment.instead_of = head.unused(monotonic_us());
  TROUPE_ASSIGN_OR_RETURN(const auto preview, preview_placement(cluster, deployment, nodes));
  json out = {{"model", deployment.manifest.name},
              {"model_id", deployment.manifest.model},
              {"sha256", head.setup->store->file_sha256(deployment.manifest.model)},
              {"context", context},
              {"memory_bytes", deployment.need.of({0, config.layers})},
              {"stages", json::array()},
              {"replicas", json::array()},
              {"with_replicas", nullptr},
              {"prediction", prediction_json(preview, preview.ranges)},
              {"equal_split", equal_json(preview, deployment.need)},
              {"whole_on", json::array()},
              {"nodes", json::array()},
              {"ways", links_json(preview, head.own_key())},
              {"left_out", left_out_text(head, nullptr)}};
  for (std::size_t i = 0; i < preview.nodes.size(); ++i) {
    if (deployment.need.of({0, config.layers}) <= preview.memories[i]) {
      out["whole_on"].push_back(preview.nodes[i]->name);
    }
    out["nodes"].push_back(node_json(preview, i));
  }
  out["stages"] = stages_json(preview, deployment.need);
  const auto replicas = replicas_of(cluster, deployment, preview);
  for (std::size_t i = 1; i < replicas.size(); ++i) {
    out["replicas"].push_back(stages_json(replicas[i], deployment.need));
  }
  if (replicas.size() > 1) {
    std::vector<model::Placement> placements;
    for (const auto& one : replicas) placements.push_back(placement_in(one));
    out["with_replicas"] = together_json(placements);
  }
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace troupe::actors::coordinator
