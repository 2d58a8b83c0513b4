#pragma once

#include <cstddef>

#include <troupe/runtime/text/bounded_json.h>

namespace troupe::model {

// The bounds of the JSON that training reads: a row of data, and a model's own files.
inline constexpr JsonLimits kTextLimits{.bytes_max = std::size_t{64} << 20, .depth_max = 64};

}  // namespace troupe::model
