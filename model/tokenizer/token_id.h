#pragma once

#include <cstdint>

namespace troupe::model {

// The index of a token in a model's vocabulary. -1 means no token.
using TokenId = std::int32_t;

}  // namespace troupe::model
