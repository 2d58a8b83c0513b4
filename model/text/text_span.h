#pragma once

#include <cstddef>

namespace troupe::model {

// The bytes [begin, end) of a text.
struct TextSpan {
  std::size_t begin = 0, end = 0;
};

}  // namespace troupe::model
