#include <nlohmann/json.hpp>

#include <troupe/actors/coordinator/shell.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/planning/memory_need.h>

// The answer to `troupe plan`.

namespace troupe::actors::coordinator {
namespace {

using nlohmann::json;

json prediction_json(const ClusterState::Outlook& outlook,
                     std::span<const model::LayerRange> ranges) {
  if (outlook.measured.costs.empty()) return nullptr;
  const model::Prediction found = model::predict(outlook.shape, outlook.measured, ranges);
  return {{"prompt_tok_s", found.prompt_tok_s},
          {"decode_tok_s", found.decode_tok_s},
          {"streams", model::kPlanStreams},
          {"streams_tok_s", found.streams_tok_s}};
}

// As many layers on each node, where that fits.
json equal_json(const ClusterState::Outlook& outlook, const model::MemoryNeed& need) {
  const std::size_t nodes = std::min(outlook.nodes.size(), outlook.shape.layers);
  const auto ranges = model::split_layers(outlook.shape.layers, std::vector<std::size_t>(nodes, 1));
  if (!ranges) return nullptr;
  std::string layers;
  for (std::size_t i = 0; i < ranges->size(); ++i) {
    if (need.of((*ranges)[i]) > outlook.memories[i]) return nullptr;
    layers += (i == 0 ? "" : ",") + model::to_string((*ranges)[i]);
  }
  json out = prediction_json(outlook, *ranges);
  if (!out.is_null()) out["layers"] = layers;
  return out;
}

json node_json(const ClusterState::Outlook& outlook, std::size_t i) {
  const NodeRecord& node = *outlook.nodes[i];
  json out = {{"name", node.name},
              {"threads", node.threads},
              {"isa", node.isa},
              {"memory_bytes", node.memory_bytes},
              {"memory_left_bytes", outlook.memories[i]},
              {"cost", nullptr}};
  if (outlook.measured.costs.empty()) return out;
  const model::LayerCost& cost = outlook.measured.costs[i];
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

// Between the nodes, and the engine where it is in none of them.
json ways_json(const ClusterState::Outlook& outlook, const net::PublicKey& engine) {
  json out = json::array();
  const std::size_t nodes = outlook.nodes.size();
  bool apart = true;
  for (const NodeRecord* node : outlook.nodes) apart = apart && node->key != engine;
  const std::size_t ends = std::min(nodes + (apart ? 1 : 0), outlook.measured.links.size());
  const auto name = [&](std::size_t i) { return i == nodes ? "engine" : outlook.nodes[i]->name; };
  for (std::size_t from = 0; from < ends; ++from) {
    for (std::size_t to = 0; to < ends; ++to) {
      if (from == to) continue;
      const model::LinkCost& way = outlook.measured.links[from][to];
      out.push_back({{"from", name(from)},
                     {"to", name(to)},
                     {"latency_us", way.latency_us},
                     {"bytes_s", nullptr}});
      // Where more bytes took no longer than few, there is nothing to say.
      if (way.bytes_per_us > 0) out.back()["bytes_s"] = way.bytes_per_us * 1e6;
    }
  }
  return out;
}

json stages_json(const ClusterState::Outlook& outlook, const model::MemoryNeed& need) {
  json stages = json::array();
  for (std::size_t i = 0; i < outlook.nodes.size(); ++i) {
    const model::LayerRange range = outlook.ranges[i];
    if (range.begin == range.end) continue;
    stages.push_back({{"node", outlook.nodes[i]->name},
                      {"layers", model::to_string(range)},
                      {"memory_bytes", need.of(range)}});
  }
  return stages;
}

model::Placement placement_of(const ClusterState::Outlook& outlook) {
  return {outlook.shape, outlook.measured, outlook.ranges};
}

// The placement of one replica after the other, each on the nodes that those before it leave, as
// long as streams gain by it.
std::vector<ClusterState::Outlook> replicas_of(const ClusterState& state,
                                               const Deployment& deployment,
                                               const ClusterState::Outlook& all) {
  std::vector<ClusterState::Outlook> replicas{all};
  std::vector<model::Placement> placements{placement_of(all)};
  std::vector<const NodeRecord*> left = all.nodes;
  for (;;) {
    const ClusterState::Outlook& last = replicas.back();
    for (std::size_t i = 0; i < last.nodes.size(); ++i) {
      if (last.ranges[i].begin < last.ranges[i].end) std::erase(left, last.nodes[i]);
    }
    if (left.size() < std::max<std::size_t>(1, deployment.asked.size())) return replicas;
    std::vector<std::string> names;
    for (const NodeRecord* node : left) names.push_back(node->name);
    auto next = state.outlook(deployment, names);
    if (!next) return replicas;
    placements.push_back(placement_of(*next));
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

Result<std::string> plan_text(Self self, const Setup& setup, const Opening& opening,
                              std::uint64_t context, const std::vector<std::string>& nodes) {
  const ClusterState& state = *self->state.state;
  TROUPE_ASSIGN_OR_RETURN(const auto source, setup->store->source(opening.open.manifest));
  TROUPE_ASSIGN_OR_RETURN(const auto config, model::config_from_gguf(source->header()));
  if (context > config.context_max) {
    return Status(Code::kInvalidArgument, "a context of " + std::to_string(context) +
                                              " positions is more than the model's " +
                                              std::to_string(config.context_max));
  }
  context = planned_context(config, context);
  TROUPE_ASSIGN_OR_RETURN(ModelAsk ask, ask_of(setup, opening, context));
  Deployment deployment(std::move(ask));
  deployment.instead_of = unused(self);
  TROUPE_ASSIGN_OR_RETURN(const auto outlook, state.outlook(deployment, nodes));
  json out = {{"model", deployment.manifest.name},
              {"sha256", deployment.manifest.model},
              {"context", context},
              {"memory_bytes", deployment.need.of({0, config.layers})},
              {"stages", json::array()},
              {"replicas", json::array()},
              {"with_replicas", nullptr},
              {"prediction", prediction_json(outlook, outlook.ranges)},
              {"equal_split", equal_json(outlook, deployment.need)},
              {"whole_on", json::array()},
              {"nodes", json::array()},
              {"ways", ways_json(outlook, setup->link->self())}};
  for (std::size_t i = 0; i < outlook.nodes.size(); ++i) {
    if (deployment.need.of({0, config.layers}) <= outlook.memories[i]) {
      out["whole_on"].push_back(outlook.nodes[i]->name);
    }
    out["nodes"].push_back(node_json(outlook, i));
  }
  out["stages"] = stages_json(outlook, deployment.need);
  const auto replicas = replicas_of(state, deployment, outlook);
  for (std::size_t i = 1; i < replicas.size(); ++i) {
    out["replicas"].push_back(stages_json(replicas[i], deployment.need));
  }
  if (replicas.size() > 1) {
    std::vector<model::Placement> placements;
    for (const auto& one : replicas) placements.push_back(placement_of(one));
    out["with_replicas"] = together_json(placements);
  }
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace troupe::actors::coordinator
