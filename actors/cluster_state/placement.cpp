#include <algorithm>
#include <span>

#include <troupe/actors/cluster_state/placement.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::actors {
namespace {

// Returns the memory that the node offers beyond what deployments were planned to take, not
// counting this one and those that would end to make room for it.
std::uint64_t free_bytes(const ClusterState& state, const NodeRecord& node,
                         const Deployment& for_this) {
  // Sums of numbers that nodes send must not overflow.
  std::uint64_t free = std::min(node.memory_bytes, std::uint64_t{1} << 53);
  for (const auto& [id, deployment] : state.deployments.all()) {
    if (id == for_this.id || for_this.instead_of.contains(id)) continue;
    for (const StagePlan& stage : deployment.stages) {
      if (stage.node == node.key) free -= std::min(free, stage.planned_bytes);
    }
  }
  return free;
}

// Returns the input of a plan for these nodes.
model::PlanShape shape_of(const Workers& workers, const Deployment& deployment) {
  std::uint32_t threads = 1;
  for (const NodeRecord* node : workers) threads = std::max(threads, node->threads);
  return {deployment.layers, deployment.channels,
          model::prompt_chunk_rows(workers.size(), threads)};
}

Result<std::vector<model::LayerRange>> choose_ranges(const ClusterState& state,
                                                     const Workers& workers,
                                                     const Deployment& deployment,
                                                     std::span<const std::uint64_t> memories) {
  model::PlanNodes nodes = state.costs.plan_nodes(workers, deployment.manifest.model, state.head);
  if (workers.size() > 1 && deployment.channels != 0 && !nodes.costs.empty()) {
    nodes.memories.assign(memories.begin(), memories.end());
    return model::place_by_cost(deployment.need, shape_of(workers, deployment), nodes);
  }
  std::vector<std::size_t> capacities;
  for (const NodeRecord* node : workers) capacities.push_back(std::max(1u, node->threads));
  return model::place_layers(deployment.need, deployment.layers, capacities, memories);
}

}  // namespace

Result<PlacementPreview> preview_placement(const ClusterState& state, const Deployment& deployment,
                                           const std::vector<std::string>& names) {
  PlacementPreview out;
  std::set<std::string> wanted(names.begin(), names.end());
  for (const NodeRecord* node : state.members.workers()) {
    if (names.empty() || wanted.erase(node->name) != 0) out.nodes.push_back(node);
  }
  if (!wanted.empty()) {
    return Status(Code::kNotFound, "no node that holds layers is named " +
                                       in_quotes(*wanted.begin()) + "; `troupe nodes` lists them");
  }
  if (out.nodes.empty())
    return Status(Code::kUnavailable, "no node of the cluster can hold layers");
  state.orders.sort(out.nodes, deployment);
  TROUPE_ASSIGN_OR_RETURN(const auto stages,
                          share_out(state, out.nodes, deployment, deployment.asked));
  for (const NodeRecord* node : out.nodes) {
    out.memories.push_back(free_bytes(state, *node, deployment));
    model::LayerRange range{deployment.layers, deployment.layers};
    for (const StagePlan& stage : stages) {
      if (stage.node == node->key) range = stage.layers;
    }
    out.ranges.push_back(range);
  }
  out.measured = state.costs.plan_nodes(out.nodes, deployment.manifest.model, state.head);
  out.measured.memories = out.memories;
  out.shape = shape_of(out.nodes, deployment);
  return out;
}

std::uint64_t positions_max(const ClusterState& state, const Deployment& deployment) {
  if (deployment.stages.empty()) return 0;
  std::uint64_t least = UINT64_MAX;
  for (const StagePlan& stage : deployment.stages) {
    const NodeRecord* record = state.members.find(stage.node);
    if (record == nullptr) return 0;
    const auto here =
        deployment.need.positions_in(stage.layers, free_bytes(state, *record, deployment));
    if (!here) return 0;
    least = std::min(least, *here);
  }
  return std::max(least, deployment.need.page_positions);
}

Result<std::vector<StagePlan>> share_out(const ClusterState& state, const Workers& workers,
                                         const Deployment& deployment,
                                         const std::vector<model::LayerRange>& ranges) {
  const model::MemoryNeed& need = deployment.need;
  std::vector<std::uint64_t> memories;
  for (const NodeRecord* node : workers) memories.push_back(free_bytes(state, *node, deployment));
  std::vector<model::LayerRange> placed = ranges;
  if (placed.empty()) {
    TROUPE_ASSIGN_OR_RETURN(placed, choose_ranges(state, workers, deployment, memories));
  } else {
    TROUPE_RETURN_IF_ERROR(model::check_layer_ranges(placed, deployment.layers, workers.size()));
    for (std::size_t i = 0; i < placed.size(); ++i) {
      const std::uint64_t wanted = need.of(placed[i]);
      if (wanted <= memories[i]) continue;
      const model::MemoryTexts texts = model::memory_texts(wanted, memories[i]);
      return Status(Code::kResourceExhausted,
                    "layers " + model::to_string(placed[i]) + " need " + texts.needed + " with " +
                        need.kv_text() + ", and node " + workers[i]->name + " has " + texts.there +
                        " left: " + texts.missing +
                        " are missing; give it fewer layers (--layers) or more memory (--memory)");
    }
  }
  std::vector<StagePlan> stages;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    // The node has no memory, or there are more nodes than layers.
    if (placed[i].begin == placed[i].end) continue;
    StagePlan stage;
    stage.node = workers[i]->key;
    stage.layers = placed[i];
    stage.planned_bytes = need.of(placed[i]);
    stages.push_back(stage);
  }
  return stages;
}

Result<std::uint64_t> place_model(ClusterState& state, DeploymentSpec spec,
                                  std::set<std::uint64_t> instead_of) {
  Deployment deployment(std::move(spec));
  deployment.instead_of = std::move(instead_of);
  Workers workers = state.members.workers();
  state.orders.sort(workers, deployment);
  if (workers.empty()) {
    return Status(Code::kUnavailable,
                  "no node of the cluster can hold layers; start one with 'troupe start --join "
                  "TOKEN@HOST:PORT', as the head printed it");
  }
  TROUPE_ASSIGN_OR_RETURN(deployment.stages,
                          share_out(state, workers, deployment, deployment.asked));
  const std::uint64_t id = state.deployments.add(std::move(deployment));
  state.orders.remember(state.deployments.at(id));
  return id;
}

model::Placement placement_of(const ClusterState& state, const Deployment& deployment) {
  Workers workers;
  model::Placement out;
  for (const StagePlan& stage : deployment.stages) {
    const NodeRecord* record = state.members.find(stage.node);
    if (record == nullptr) continue;
    workers.push_back(record);
    out.ranges.push_back(stage.layers);
  }
  out.shape = shape_of(workers, deployment);
  if (deployment.channels != 0)
    out.nodes = state.costs.plan_nodes(workers, deployment.manifest.model, state.head);
  return out;
}

}  // namespace troupe::actors
