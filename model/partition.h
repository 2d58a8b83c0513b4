#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/model/config.h>

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

}  // namespace troupe::model
