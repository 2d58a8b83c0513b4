#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <troupe/model/planning/layer_cost.h>
#include <troupe/model/planning/partition.h>

// Decides from measurements which layers go where, and predicts how fast that will be. Pure: the
// same numbers give the same placement. Used by the coordinator.

namespace troupe::model {

// The cost of a message from one node to another.
struct LinkCost {
  double latency_us = 0;    // the time of a small message
  double bytes_per_us = 0;  // bytes per microsecond; 0 means unlimited
  double of(double bytes) const {
    return latency_us + (bytes_per_us > 0 ? bytes / bytes_per_us : 0);
  }
};

// Nodes in the order in which they may hold a model's layers.
struct PlanNodes {
  std::vector<LayerCost> costs;
  std::vector<std::uint64_t> memories;
  // links[i][j] is the cost from node i to node j; index costs.size() stands for the engine.
  std::vector<std::vector<LinkCost>> links;
  std::optional<std::size_t> engine;  // the node that the engine runs on
  // Each node's machine, by a number. Nodes of one machine share its CPUs. Empty: each node has a
  // machine of its own.
  std::vector<std::size_t> hosts;
};

struct PlanShape {
  std::size_t layers = 0, channels = 0;
  std::size_t chunk_rows = 0;  // rows in a step of a prompt
};

// The number of streams whose common rate is predicted, and whose steps share the stages.
constexpr std::size_t kPlanStreams = 8;

// Rates in tokens per second.
struct Prediction {
  double prompt_tok_s = 0;   // a prompt of kCostPrompt tokens, alone
  double decode_tok_s = 0;   // one stream
  double streams_tok_s = 0;  // kPlanStreams streams together
};

// Returns the number of a prompt's rows in one step: as many as a thread takes through a layer at
// once, times the most threads that a node has. So the stages can work on different parts of one
// prompt at the same time.
std::size_t prompt_chunk_rows(std::size_t stages, std::size_t threads_max);

// `ranges` has one range a node, as place_layers gives them; nodes with an empty range are left
// out.
Prediction predict(const PlanShape& shape, const PlanNodes& nodes,
                   std::span<const LayerRange> ranges);

// Predicts the rate of `streams` streams together, in tokens per second.
double predict_streams(const PlanShape& shape, const PlanNodes& nodes,
                       std::span<const LayerRange> ranges, std::size_t streams);

// One of a model's replicas.
struct Placement {
  PlanShape shape;
  PlanNodes nodes;
  std::vector<LayerRange> ranges;
};
// Predicts the rate of `streams` streams over all replicas, in tokens per second. Each stream goes
// where it costs least, and the slowest replica decides.
double predict_together(std::span<const Placement> all, std::size_t streams);
// Says whether the last replica makes kPlanStreams streams enough faster to be worth its memory.
// The answer is yes if the costs of a replica are not known.
bool replica_pays(std::span<const Placement> all);

// Finds the placement within memory that is fastest for the answers and prompts of several streams
// and not much slower for one. A node that would only delay the others gets nothing. The search
// climbs from equal shares, layer by layer, so it does not always find the very best placement.
//   Errors: as place_layers.
Result<std::vector<LayerRange>> place_by_cost(const MemoryNeed& need, const PlanShape& shape,
                                              const PlanNodes& nodes);

}  // namespace troupe::model
