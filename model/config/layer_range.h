#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <troupe/runtime/status.h>

// Ranges of decoder layers, and how people write them. Pure.

namespace troupe::model {

// Decoder layers [begin, end). People write the range inclusively, as "0-9".
struct LayerRange {
  std::size_t begin = 0, end = 0;
  bool operator==(const LayerRange&) const = default;
};

// Reads "3", "0-9" or "0-9,10-19".
//   Errors: kInvalidArgument names the part that is not a range.
Result<std::vector<LayerRange>> parse_layer_ranges(const std::string& text);

// Returns "0-9", or "none" for an empty range.
std::string to_string(LayerRange range);

}  // namespace troupe::model
