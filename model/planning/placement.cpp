#include <algorithm>
#include <limits>

#include <troupe/model/planning/placement.h>

namespace troupe::model {
namespace {

constexpr std::size_t kChunkRows = 32, kChunkRowsMax = 256;
// The CPU time that a step takes on its node beside the layers: kStepUs to receive and send it, a
// microsecond for each kBytesPerUs bytes received or sent, and kEngineStepUs on the engine's node
// to sample and to send tokens to clients. (Measured as threads' CPU time on a Xeon of 2023; it is
// a tenth of a step of a small model.)
constexpr double kStepUs = 80, kEngineStepUs = 100, kBytesPerUs = 200;
// A stage that waited for others begins slowly: its thread is woken, and its core's caches are
// cold.
constexpr double kWakeUs = 100;
// The weight of a lone stream's time for a token, beside the times of streams together.
constexpr double kLoneStream = 0.1;
// A replica is worth its memory if streams are faster by at least this factor.
constexpr double kReplicaGain = 1.1;
// A node that has layers is left out only for a gain that a measurement can distinguish from
// chance.
constexpr double kDropGain = 0.95;

// Returns the cost of a step of `rows` sequences' rows, from the costs of one row and of kCostRows.
// The first rows wait for the same weights. Each later one costs at least `of_many`, the cost of a
// row among many, which waits for no weights.
double at_rows(double one, double several, double of_many, std::size_t rows) {
  const double more = std::max(0.0, (several - one) / static_cast<double>(kCostRows - 1));
  const std::size_t few = std::min(rows, kCostRows);
  return one + more * static_cast<double>(few - 1) +
         std::max(more, of_many) * static_cast<double>(rows - few);
}

struct Used {
  std::size_t node, layers;
};

std::vector<Used> used_of(std::span<const LayerRange> ranges) {
  std::vector<Used> used;
  for (std::size_t i = 0; i < ranges.size(); ++i)
    if (ranges[i].begin < ranges[i].end) used.push_back({i, ranges[i].end - ranges[i].begin});
  return used;
}

// The times of a placement, in microseconds.
class Timing {
 public:
  Timing(const PlanShape& shape, const PlanNodes& nodes, std::span<const LayerRange> ranges)
      : shape_(shape), nodes_(nodes), used_(used_of(ranges)) {}

  // Returns the time of a token of a lone stream, or of a step of `rows` streams: all stages and
  // the connections between them. While one stage works, the others rest and save up their quota.
  double loop(std::size_t rows) const {
    double sum = connections(rows);
    for (std::size_t i = 0; i < used_.size(); ++i) sum += stage(i, rows);
    if (used_.size() > 1) sum += kEngineStepUs + kWakeUs * static_cast<double>(used_.size());
    const std::vector<double> each = busy_stages(rows);
    return std::max(sum, *std::max_element(each.begin(), each.end()));
  }
  // Returns the time in which `count` streams that share the stages make one token each.
  double streams(std::size_t count) const {
    const std::size_t share = (count + used_.size() - 1) / used_.size();
    const std::size_t steps = (count + share - 1) / share;
    const std::vector<double> each = busy_stages(share);
    const double slowest = std::max({*std::max_element(each.begin(), each.end()),
                                     slowest_connection(share), slowest_host(each)});
    return std::max(loop(share), slowest * static_cast<double>(steps));
  }
  double prompt(std::size_t tokens) const {
    const std::size_t chunk = std::min(tokens, shape_.chunk_rows);
    const double chunks = static_cast<double>((tokens + chunk - 1) / chunk);
    const auto rows = static_cast<double>(chunk);
    double sum = connections(chunk), slowest = slowest_connection(chunk);
    std::vector<double> each;
    for (std::size_t i = 0; i < used_.size(); ++i) {
      const double layer = nodes_.costs[used_[i].node].prompt_row_us * rows;
      const double us = busy(i, chunk, static_cast<double>(used_[i].layers) * layer);
      sum += us;
      slowest = std::max(slowest, us);
      each.push_back(us);
    }
    slowest = std::max(slowest, slowest_host(each));
    const double in_flight = static_cast<double>(used_.size() + 1);
    slowest = std::max(slowest, sum / in_flight);
    return sum + (static_cast<double>(tokens) / rows - 1) * slowest * (chunks > 1 ? 1 : 0) +
           nodes_.costs[used_.back().node].of(used_.back().layers).head_row_us;
  }

 private:
  double stage(std::size_t i, std::size_t rows) const {
    const LayerCost& cost = nodes_.costs[used_[i].node];
    const StepCost step = cost.of(used_[i].layers);
    const double layer = at_rows(step.row_us, step.rows_us, cost.prompt_row_us, rows);
    const double us = static_cast<double>(used_[i].layers) * layer;
    if (i + 1 != used_.size()) return us;
    // The logits are not measured for many rows. Their cost for a row among many is assumed to be
    // in the same proportion to a layer's as it is for a single row.
    const double head_of_many = cost.prompt_row_us * step.head_row_us / step.row_us;
    return us + at_rows(step.head_row_us, step.head_rows_us, head_of_many, rows);
  }
  // Returns the time between two steps that follow each other, if each computes for `us`.
  double busy(std::size_t i, std::size_t rows, double us) const {
    const std::size_t node = used_[i].node;
    const int ends = (i > 0) + (i + 1 < used_.size());
    us += kStepUs + ends * hidden_bytes(rows) / kBytesPerUs;
    if (nodes_.engine == node) us += kEngineStepUs;
    return us / nodes_.costs[node].share;
  }
  std::vector<double> busy_stages(std::size_t rows) const {
    std::vector<double> each;
    for (std::size_t i = 0; i < used_.size(); ++i) each.push_back(busy(i, rows, stage(i, rows)));
    return each;
  }
  // Stages on one machine take turns if together they have more threads than it has CPUs. Returns
  // the time between two steps through all of them, if stage i by itself takes busy_us[i].
  double slowest_host(const std::vector<double>& busy_us) const {
    double slowest = 0;
    for (std::size_t i = 0; i < used_.size() && !nodes_.hosts.empty(); ++i) {
      double cpu_us = 0;
      for (std::size_t k = 0; k < used_.size(); ++k) {
        if (nodes_.hosts[used_[k].node] == nodes_.hosts[used_[i].node])
          cpu_us += busy_us[k] * nodes_.costs[used_[k].node].threads;
      }
      slowest = std::max(slowest, cpu_us / nodes_.costs[used_[i].node].host_cpus);
    }
    return slowest;
  }
  const LinkCost& connection(std::size_t i) const {  // into the i-th stage
    const std::size_t from = i == 0 ? nodes_.costs.size() : used_[i - 1].node;
    return nodes_.links[from][used_[i].node];
  }
  double hidden_bytes(std::size_t rows) const {
    return static_cast<double>(rows * shape_.channels * sizeof(float));
  }
  double connections(std::size_t rows) const {
    double sum = connection(0).of(0) + nodes_.links[used_.back().node][nodes_.costs.size()].of(0);
    for (std::size_t i = 1; i < used_.size(); ++i) sum += connection(i).of(hidden_bytes(rows));
    return sum;
  }
  // Returns the longest time that a connection takes to carry a step's rows. This limits steps that
  // follow each other; the latency does not.
  double slowest_connection(std::size_t rows) const {
    double slowest = 0;
    for (std::size_t i = 1; i < used_.size(); ++i)
      slowest = std::max(slowest, connection(i).of(hidden_bytes(rows)) - connection(i).latency_us);
    return slowest;
  }

  const PlanShape& shape_;
  const PlanNodes& nodes_;
  const std::vector<Used> used_;
};

// Searches for the best number of layers for each node by moving single layers.
class Climb {
 public:
  Climb(const MemoryNeed& need, const PlanShape& shape, const PlanNodes& nodes)
      : need_(need), shape_(shape), nodes_(nodes) {}

  std::vector<LayerRange> ranges_of(const std::vector<std::size_t>& counts) const {
    std::vector<LayerRange> ranges;
    std::size_t begin = 0;
    for (const std::size_t count : counts) {
      ranges.push_back({begin, begin + count});
      begin += count;
    }
    return ranges;
  }

  // Returns microseconds per token, or infinity if memory is short.
  double price(const std::vector<std::size_t>& counts) const {
    const std::vector<LayerRange> ranges = ranges_of(counts);
    for (std::size_t i = 0; i < ranges.size(); ++i)
      if (need_.of(ranges[i]) > nodes_.memories[i]) return std::numeric_limits<double>::infinity();
    const Timing timing(shape_, nodes_, ranges);
    return timing.streams(kPlanStreams) / static_cast<double>(kPlanStreams) +
           timing.prompt(kCostPrompt) / static_cast<double>(kCostPrompt) +
           kLoneStream * timing.loop(1);
  }

  // Moves single layers from node to node as long as that lowers the price, which it returns.
  double climb(std::vector<std::size_t>* counts) const {
    double best = price(*counts);
    for (std::size_t round = 0; round < 4 * shape_.layers; ++round) {
      std::vector<std::size_t> better;
      for (std::size_t from = 0; from < counts->size(); ++from) {
        for (std::size_t to = 0; to < counts->size(); ++to) {
          if (from == to || (*counts)[from] == 0) continue;
          std::vector<std::size_t> moved = *counts;
          --moved[from];
          ++moved[to];
          const double here = price(moved);
          if (here < best) {
            best = here;
            better = std::move(moved);
          }
        }
      }
      if (better.empty()) break;
      *counts = std::move(better);
    }
    return best;
  }

  // Moves every layer of the node `gone` to the node where it costs least. Returns nothing if a
  // layer fits nowhere.
  std::vector<std::size_t> without(std::vector<std::size_t> counts, std::size_t gone) const {
    while (counts[gone] > 0) {
      --counts[gone];
      std::size_t cheapest = gone;
      double least = std::numeric_limits<double>::infinity();
      for (std::size_t to = 0; to < counts.size(); ++to) {
        if (to == gone) continue;
        ++counts[to];
        const double here = price(counts);
        --counts[to];
        if (here < least) {
          least = here;
          cheapest = to;
        }
      }
      if (cheapest == gone) return {};
      ++counts[cheapest];
    }
    return counts;
  }

 private:
  const MemoryNeed& need_;
  const PlanShape& shape_;
  const PlanNodes& nodes_;
};

}  // namespace

std::size_t prompt_chunk_rows(std::size_t stages, std::size_t threads_max) {
  if (stages <= 1) return 512;
  return std::clamp(kChunkRows * threads_max, kChunkRows, kChunkRowsMax);
}

Prediction predict(const PlanShape& shape, const PlanNodes& nodes,
                   std::span<const LayerRange> ranges) {
  const Timing timing(shape, nodes, ranges);
  return {static_cast<double>(kCostPrompt) / timing.prompt(kCostPrompt) * 1e6, 1e6 / timing.loop(1),
          predict_streams(shape, nodes, ranges, kPlanStreams)};
}

double predict_streams(const PlanShape& shape, const PlanNodes& nodes,
                       std::span<const LayerRange> ranges, std::size_t streams) {
  const Timing timing(shape, nodes, ranges);
  return static_cast<double>(streams) / timing.streams(streams) * 1e6;
}

double predict_together(std::span<const Placement> all, std::size_t streams) {
  std::vector<std::size_t> share(all.size(), 0);
  // For each replica, the time of a token of each of its streams if it had one stream more.
  std::vector<double> next_us;
  for (const Placement& one : all)
    next_us.push_back(Timing(one.shape, one.nodes, one.ranges).streams(1));
  double slowest = 0;
  for (std::size_t stream = 0; stream < streams; ++stream) {
    const auto least = std::min_element(next_us.begin(), next_us.end());
    const auto best = static_cast<std::size_t>(least - next_us.begin());
    slowest = std::max(slowest, *least);
    share[best] += 1;
    const Placement& one = all[best];
    *least = Timing(one.shape, one.nodes, one.ranges).streams(share[best] + 1);
  }
  return static_cast<double>(streams) / slowest * 1e6;
}

bool replica_pays(std::span<const Placement> all) {
  const auto unknown = [](const Placement& one) { return one.nodes.costs.empty(); };
  if (std::any_of(all.begin(), all.end(), unknown)) return true;
  return predict_together(all, kPlanStreams) >=
         kReplicaGain * predict_together(all.first(all.size() - 1), kPlanStreams);
}

Result<std::vector<LayerRange>> place_by_cost(const MemoryNeed& need, const PlanShape& shape,
                                              const PlanNodes& nodes) {
  // Begin with a placement that fits.
  const std::vector<std::size_t> equal(nodes.costs.size(), 1);
  TROUPE_ASSIGN_OR_RETURN(const auto first,
                          place_layers(need, shape.layers, equal, nodes.memories));
  std::vector<std::size_t> counts;
  for (const LayerRange& range : first) counts.push_back(range.end - range.begin);
  const Climb climb(need, shape, nodes);
  double best = climb.climb(&counts);
  // Then leave out the node whose absence helps most, as long as that helps enough.
  for (;;) {
    double least = best * kDropGain;
    std::vector<std::size_t> fewest;
    for (std::size_t gone = 0; gone < counts.size(); ++gone) {
      if (counts[gone] == 0) continue;
      std::vector<std::size_t> fewer = climb.without(counts, gone);
      if (fewer.empty()) continue;
      const double here = climb.climb(&fewer);
      if (here >= least) continue;
      least = here;
      fewest = std::move(fewer);
    }
    if (fewest.empty()) break;
    best = least;
    counts = std::move(fewest);
  }
  return climb.ranges_of(counts);
}

}  // namespace troupe::model
