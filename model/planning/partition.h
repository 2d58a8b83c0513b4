#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <troupe/model/config/model_config.h>

// Which node runs which decoder layers. Pure: numbers in, ranges out; used by the coordinator.

namespace troupe::model {

// Cuts layers 0..layers-1 into one range a node, in node order, sizes in proportion to `capacities`
// (threads, say; all 1 gives an equal split), at least one layer each.
//   Errors: kInvalidArgument (no node, a capacity of 0, more nodes than layers).
Result<std::vector<LayerRange>> split_layers(std::size_t layers,
                                             std::span<const std::size_t> capacities);

// That ranges given by a person cover layers 0..layers-1 once and in order, for at most `nodes`
// nodes. kInvalidArgument names the gap, the overlap or the number of nodes.
Status check_layer_ranges(std::span<const LayerRange> ranges, std::size_t layers,
                          std::size_t nodes);

// What a model's layers take of a node's memory, in bytes: each with its weights, and keys and
// values for the context that is planned for. The first layer brings the embedding, the last the
// output.
struct MemoryNeed {
  std::vector<std::uint64_t> layers;  // empty: not known, everything fits
  std::uint64_t shared = 0;  // counted twice when one node has the first and the last layer
  // Of that, a layer's keys and values: so many pages of so many bytes, for page_positions each.
  std::uint64_t page_bytes = 0, pages = 0, page_positions = 0;
  std::uint64_t of(LayerRange range) const;
  // Positions whose keys and values fit beside the weights of a range, in whole pages; 0: not
  // known.
  std::uint64_t positions_in(LayerRange range, std::uint64_t memory) const;
  // "keys and values of 4096 positions", which of() counts.
  std::string kv_text() const;
};

// As split_layers, but no node gets more than fits into its memory (bytes; same order as
// `capacities`): the others take what it cannot. One range a node; that of a node which holds
// nothing is empty. There may be more nodes than layers.
//   Errors: kInvalidArgument as split_layers; kResourceExhausted: too little memory, with how much
//   is missing.
Result<std::vector<LayerRange>> place_layers(const MemoryNeed& need, std::size_t layers,
                                             std::span<const std::size_t> capacities,
                                             std::span<const std::uint64_t> memories);

// What there is and what is missing of what is needed, for messages: "190.9 MiB", "50.0 MiB" and
// "140.9 MiB", in one unit, and the last is the difference of the others as they are printed. Never
// less than is missing. `there` is less than `needed`.
struct MemoryTexts {
  std::string needed, there, missing;
};
MemoryTexts memory_texts(std::uint64_t needed, std::uint64_t there);

}  // namespace troupe::model
