#pragma once

#include <cstdint>

namespace troupe::model {

// Index of a token in a model's vocabulary; -1 where there may be none.
using TokenId = std::int32_t;

}  // namespace troupe::model
