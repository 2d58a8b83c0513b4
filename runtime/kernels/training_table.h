#pragma once

#include <cstddef>

#include <troupe/runtime/kernels/training.h>

// The table of training kernels of each target, and the memory that its kernels need. Any thread.

namespace troupe::kernels {

// Returns the table of a supported target.
const TrainingKernels& training_table(Isa isa);

// Returns the floats of scratch that attention_backward needs for an example of `count` positions.
std::size_t attention_backward_scratch_floats(std::size_t count, std::size_t head_dim);

}  // namespace troupe::kernels
