#include <algorithm>
#include <iterator>
#include <string>

#include <troupe/model/planning/partition.h>

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

std::uint64_t MemoryNeed::of(LayerRange range) const {
  if (layers.empty() || range.begin >= range.end) return 0;
  std::uint64_t bytes = 0;
  for (std::size_t i = range.begin; i < range.end; ++i) bytes += layers[i];
  return range.begin == 0 && range.end == layers.size() ? bytes - shared : bytes;
}

std::optional<std::uint64_t> MemoryNeed::positions_in(LayerRange range,
                                                      std::uint64_t memory) const {
  if (layers.empty() || page_bytes == 0 || range.begin >= range.end) return std::nullopt;
  const std::uint64_t page = (range.end - range.begin) * page_bytes;
  const std::uint64_t weights = of(range) - page * pages;
  return (memory - std::min(memory, weights)) / page * page_positions;
}

std::string MemoryNeed::kv_text() const {
  if (pages == 0) return "keys and values";
  return "keys and values of " + std::to_string(pages * page_positions) + " positions";
}

MemoryTexts memory_texts(std::uint64_t needed, std::uint64_t there) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  const auto unit_of = [](std::uint64_t bytes) {
    std::size_t unit = 0;
    for (; bytes >= 1024 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
    return unit;
  };
  // The missing amount matters most: take a smaller unit if it is small, but print no long numbers.
  std::size_t unit = unit_of(needed);
  if (unit_of(needed - there) < unit) --unit;
  const std::uint64_t scale = std::uint64_t{1} << 10 * unit;
  const auto tenths = [&](std::uint64_t bytes, std::uint64_t up) {
    return bytes / scale * 10 + (bytes % scale * 10 + up) / scale;
  };
  const auto text = [&](std::uint64_t value) {
    const std::string fraction = unit == 0 ? "" : "." + std::to_string(value % 10);
    return std::to_string(value / 10) + fraction + " " + kUnits[unit];
  };
  const std::uint64_t need = tenths(needed, scale - 1), have = tenths(there, 0);
  return {text(need), text(have), text(need - have)};
}

namespace {

// Returns the end of the longest range from `begin` that fits into `memory`.
std::size_t reach(const MemoryNeed& need, std::size_t layers, std::size_t begin,
                  std::uint64_t memory) {
  std::size_t end = begin;
  while (end < layers && need.of({begin, end + 1}) <= memory) ++end;
  // The whole model may fit although all layers but the last do not, because a shared embedding
  // counts once.
  if (end < layers && begin == 0 && need.of({0, layers}) <= memory) end = layers;
  return end;
}

// Returns the layer that nodes with `memories` reach from `begin` on if each takes all that fits.
std::size_t reach_of_all(const MemoryNeed& need, std::size_t layers, std::size_t begin,
                         std::span<const std::uint64_t> memories) {
  for (const std::uint64_t memory : memories) begin = reach(need, layers, begin, memory);
  return begin;
}

Status too_little_memory(const MemoryNeed& need, std::size_t layers,
                         std::span<const std::uint64_t> memories) {
  const std::uint64_t all = need.of({0, layers});
  std::uint64_t offered = 0;
  for (const std::uint64_t memory : memories) offered += memory;
  // What is missing is the memory that the last node would need in addition to hold the rest.
  std::size_t begin = 0;
  for (const std::uint64_t memory : memories.first(memories.size() - 1)) {
    begin = reach(need, layers, begin, memory);
  }
  const std::uint64_t rest = need.of({begin, layers});
  const std::uint64_t missing = rest - std::min(rest, memories.back());
  // Layers are not cut, so nodes may have memory left that no layer can use.
  const std::uint64_t used = all - missing;
  const MemoryTexts texts = memory_texts(all, used);
  const std::string left =
      offered == used ? texts.there + " left" : texts.there + " left that whole layers can use";
  const std::string nodes = memories.size() == 1
                                ? "the node has "
                                : "the " + std::to_string(memories.size()) + " nodes have ";
  return Status(Code::kResourceExhausted,
                "the model needs " + texts.needed + " with " + need.kv_text() + ", and " + nodes +
                    left + ": " + texts.missing +
                    " are missing; add a node (troupe start --join), let one offer more "
                    "(--memory), or unload another model (troupe unload)");
}

}  // namespace

Result<std::vector<LayerRange>> place_layers(const MemoryNeed& need, std::size_t layers,
                                             std::span<const std::size_t> capacities,
                                             std::span<const std::uint64_t> memories) {
  const std::size_t nodes = capacities.size();
  const std::size_t used = std::min(nodes, layers);
  TROUPE_ASSIGN_OR_RETURN(auto ranges, split_layers(layers, capacities.first(used)));
  ranges.resize(nodes, {layers, layers});
  if (need.layers.empty()) return ranges;
  bool fits = true;
  for (std::size_t i = 0; i < nodes; ++i) fits = fits && need.of(ranges[i]) <= memories[i];
  if (fits) return ranges;
  if (reach_of_all(need, layers, 0, memories) < layers) {
    return too_little_memory(need, layers, memories);
  }
  // Each node gets its share of the remaining layers: fewer if fewer fit, more if the nodes after
  // it could not hold the rest.
  std::size_t begin = 0, weight = 0;
  for (const std::size_t capacity : capacities) weight += capacity;
  for (std::size_t i = 0; i < nodes; ++i) {
    const std::size_t share = ((layers - begin) * capacities[i] + weight / 2) / weight;
    std::size_t end = std::min(begin + share, reach(need, layers, begin, memories[i]));
    const auto later = memories.subspan(i + 1);
    while (reach_of_all(need, layers, end, later) < layers) ++end;
    if (need.of({begin, end}) > memories[i])
      end = layers;  // only the whole model fits (a shared embedding counts once)
    ranges[i] = {begin, end};
    begin = end;
    weight -= capacities[i];
  }
  return ranges;
}

}  // namespace troupe::model
