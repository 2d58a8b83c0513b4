#pragma once

#include <cstddef>

#include <troupe/runtime/kernels/kernels.h>

// The kernel table of each target, and the memory that its kernels need. Devices choose a table
// once when they are made. Any thread.

namespace troupe::kernels {

// Returns the table of a supported target.
const Kernels& table(Isa isa);

// Returns the number of floats of scratch that one call of `attention` needs for `keys` keys,
// independent of its rows, because tiles of a fixed size are computed one after the other.
std::size_t attention_scratch_floats(const AttentionArgs& args, std::size_t keys);

}  // namespace troupe::kernels
