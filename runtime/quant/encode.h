#pragma once

#include <cstddef>

#include <troupe/runtime/quant/format.h>

// Turns f32 values into the blocks of a file, for writing models. Any thread.

namespace troupe::quant {

// Says whether encode can write this format: all formats that have kernels (format_list.h), TQ1_0
// and TQ2_0.
bool can_encode(Type type);

// out = the `count` values as blocks of `type`. `count` is a multiple of the format's block. A
// block depends on its values alone. For F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, MXFP4, TQ1_0 and
// TQ2_0 it gives the bytes that the Python package `gguf` gives (tests/data/golden has some).
// The K-quants and IQ4 search for the scales that leave the least squared error (encode_search.h).
// Returns false if a value or a scale does not fit the format: it is not a finite number, or it
// is too large for f16.
bool encode(Type type, const float* values, std::size_t count, std::byte* out);

}  // namespace troupe::quant
