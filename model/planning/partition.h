#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <troupe/model/config/layer_range.h>
#include <troupe/runtime/status.h>

// Decides which node runs which decoder layers. Pure: numbers in, ranges out. Used by the
// coordinator.

namespace troupe::model {

// Cuts layers 0..layers-1 into one range a node, in node order. The ranges' sizes are in proportion
// to `capacities` (the nodes' threads, for example), and each has at least one layer.
//   Errors: kInvalidArgument if there is no node, a capacity of 0, or more nodes than layers.
Result<std::vector<LayerRange>> split_layers(std::size_t layers,
                                             std::span<const std::size_t> capacities);

// Checks that ranges which a person gave cover layers 0..layers-1 once and in order, for at most
// `nodes` nodes.
//   Errors: kInvalidArgument names the gap, the overlap or the number of nodes.
Status check_layer_ranges(std::span<const LayerRange> ranges, std::size_t layers,
                          std::size_t nodes);

// How many bytes of a node's memory a model's layers take: for each layer its weights, and its keys
// and values for the planned context. The first layer also counts the embedding, the last one the
// output.
struct MemoryNeed {
  std::vector<std::uint64_t> layers;  // empty: not known, everything fits
  std::uint64_t shared = 0;           // counted twice if one node has the first and the last layer
  // A layer's keys and values, which `layers` counts: `pages` pages of page_bytes bytes, each for
  // page_positions positions.
  std::uint64_t page_bytes = 0, pages = 0, page_positions = 0;
  std::uint64_t of(LayerRange range) const;
  // Returns the number of positions whose keys and values fit beside the weights of a range, in
  // whole pages; nothing if that is not known.
  std::optional<std::uint64_t> positions_in(LayerRange range, std::uint64_t memory) const;
  // Says what of() counts: "keys and values of 4096 positions".
  std::string kv_text() const;
};

// Does the same as split_layers, but no node gets more than fits into its memory (bytes, in the
// order of `capacities`): the others take the rest. There is one range a node, and it is empty for
// a node that holds nothing. There may be more nodes than layers.
//   Errors: kInvalidArgument as split_layers; kResourceExhausted if there is too little memory,
//   with how much is missing.
Result<std::vector<LayerRange>> place_layers(const MemoryNeed& need, std::size_t layers,
                                             std::span<const std::size_t> capacities,
                                             std::span<const std::uint64_t> memories);

// The memory that is needed, that is there and that is missing, for messages: "190.9 MiB", "50.0
// MiB" and "140.9 MiB". All three have one unit, and the last is the difference of the others as
// they are printed; it is never less than what is missing. `there` must be less than `needed`.
struct MemoryTexts {
  std::string needed, there, missing;
};
MemoryTexts memory_texts(std::uint64_t needed, std::uint64_t there);

}  // namespace troupe::model
