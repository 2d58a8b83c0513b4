#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <troupe/model/planning/layer_cost.h>
#include <troupe/model/planning/partition.h>

// Which layers go where by what was measured, and how fast that will be. Pure: the same numbers
// give the same placement. Used by the coordinator.

namespace troupe::model {

// From one node to another: of a small message, and of what a byte adds.
struct LinkCost {
  double latency_us = 0;
  double bytes_us = 0;  // bytes in a microsecond; 0: as many as one likes
  double of(double bytes) const { return latency_us + (bytes_us > 0 ? bytes / bytes_us : 0); }
};

// Nodes in the order in which layers may be laid on them.
struct PlanNodes {
  std::vector<LayerCost> costs;
  std::vector<std::uint64_t> memories;
  // links[i][j] of node i to node j; index costs.size() stands for the engine.
  std::vector<std::vector<LinkCost>> links;
  std::optional<std::size_t> engine;  // the node that it runs on
  // Each node's machine, by a number; those of one machine share its CPUs. Empty: one each.
  std::vector<std::size_t> hosts;
};

struct PlanShape {
  std::size_t layers = 0, channels = 0;
  std::size_t chunk_rows = 0;  // of a prompt's step
};

// Streams whose common rate is predicted, and whose steps share the stages.
constexpr std::size_t kPlanStreams = 8;

// Tokens in a second.
struct Prediction {
  double prompt_tok_s = 0;   // of a prompt of kCostPrompt tokens, alone
  double decode_tok_s = 0;   // of one stream
  double streams_tok_s = 0;  // of kPlanStreams streams together
};

// Rows of a prompt in one step: as many as a thread takes through a layer at once, for each thread
// of the widest of several nodes, so that all stages work on one prompt.
std::size_t prompt_chunk_rows(std::size_t stages, std::size_t threads_max);

// One range a node as of place_layers; empty ones are left out.
Prediction predict(const PlanShape& shape, const PlanNodes& nodes,
                   std::span<const LayerRange> ranges);

// Of so many streams together, in tokens a second.
double predict_streams(const PlanShape& shape, const PlanNodes& nodes,
                       std::span<const LayerRange> ranges, std::size_t streams);

// One of a model's replicas.
struct Placement {
  PlanShape shape;
  PlanNodes nodes;
  std::vector<LayerRange> ranges;
};
// Of `streams` that are shared out over all of them, each where it costs least, in tokens a second;
// the slowest share is what all wait for.
double predict_together(std::span<const Placement> all, std::size_t streams);
// The last one makes kPlanStreams streams enough faster to be worth its memory; true, too, where
// the costs of one of them are not known.
bool replica_pays(std::span<const Placement> all);

// The placement that answers and prompts of several streams get through fastest, and one stream not
// much slower, within memory; a node that would only hold the others up gets nothing. A climb from
// equal shares, layer by layer: not always the very best.
//   Errors: as place_layers.
Result<std::vector<LayerRange>> place_by_cost(const MemoryNeed& need, const PlanShape& shape,
                                              const PlanNodes& nodes);

}  // namespace troupe::model
