#include <algorithm>
#include <string>

#include <troupe/model/partition.h>

namespace troupe::model {

Result<std::vector<LayerRange>> split_layers(std::size_t layers,
                                             std::span<const std::size_t> capacities) {
  const std::size_t nodes = capacities.size();
  if (nodes == 0)
    return Status(Code::kInvalidArgument,
                  "there is no node to run layers on; start one with troupe start --join");
  if (nodes > layers)
    return Status(Code::kInvalidArgument, "cannot spread " + std::to_string(layers) +
                                              " layers over " + std::to_string(nodes) +
                                              " nodes; use at most one node a layer");
  constexpr std::size_t kCapacityMax = std::size_t{1} << 20;
  std::size_t total = 0;
  for (std::size_t i = 0; i < nodes; ++i) {
    if (capacities[i] == 0)
      return Status(Code::kInvalidArgument,
                    "node " + std::to_string(i) + " offers a capacity of 0; leave it out");
    total += std::min(capacities[i], kCapacityMax);
  }
  std::vector<LayerRange> ranges(nodes);
  std::size_t sum = 0, begin = 0;
  for (std::size_t i = 0; i < nodes; ++i) {
    sum += std::min(capacities[i], kCapacityMax);
    // The ideal cut, rounded half up, moved so that this node and every later one get a layer.
    const std::size_t ideal = (2 * layers * sum + total) / (2 * total);
    const std::size_t end = std::clamp(ideal, begin + 1, layers - (nodes - 1 - i));
    ranges[i] = {begin, end};
    begin = end;
  }
  return ranges;
}

Status check_layer_ranges(std::span<const LayerRange> ranges, std::size_t layers,
                          std::size_t nodes) {
  const auto wrong = [&](const std::string& what) {
    return Status(Code::kInvalidArgument, what + "; the ranges must cover 0-" +
                                              std::to_string(layers - 1) + " once and in order");
  };
  if (ranges.empty()) return wrong("no layers were given");
  std::size_t next = 0;
  for (const LayerRange& range : ranges) {
    const std::string text = to_string(range);
    if (range.begin >= range.end) return wrong("layers " + text + " are none");
    if (range.end > layers)
      return wrong("layers " + text + " go past the model, which has " + std::to_string(layers));
    if (range.begin > next)
      return wrong("layers " + to_string({next, range.begin}) + " are missing before " + text);
    if (range.begin < next)
      return wrong("layers " + text + " overlap what was given before, up to " +
                   std::to_string(next - 1));
    next = range.end;
  }
  if (next < layers)
    return wrong("layers " + to_string({next, layers}) + " are missing at the end");
  if (ranges.size() > nodes)
    return Status(Code::kInvalidArgument,
                  std::to_string(ranges.size()) + " layer ranges were given for " +
                      std::to_string(nodes) + " nodes; give at most one range a node");
  return Status::ok();
}

}  // namespace troupe::model
