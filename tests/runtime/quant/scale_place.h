#pragma once

#include <cstddef>

#include <troupe/runtime/quant/format.h>

namespace troupe::quant {

// Returns the place of the scale d in a block of a file; an m follows it. For the tests that make
// blocks of every format with kernels.
inline std::size_t scale_place(Type type) {
  if (type == Type::kQ2_K) return 80;
  if (type == Type::kQ3_K) return 108;
  return type == Type::kQ6_K ? 208 : 0;
}

}  // namespace troupe::quant
