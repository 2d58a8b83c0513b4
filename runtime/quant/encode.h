#pragma once

#include <cstddef>

#include <troupe/runtime/quant/format.h>

// From f32 values to the blocks of a file: for writing models. Any thread.

namespace troupe::quant {

// Whether encode can write this format: F32, F16, Q8_0, Q4_0, Q4_1.
bool can_encode(Type type);

// out = the `count` values as blocks of `type`. `count` is a multiple of the format's block. A
// block depends on its values alone. Scales follow ggml's reference; products are formed in double
// precision, as the Python package `gguf` does, whose bytes tests/data/golden/quants.safetensors
// has. Returns false if a value or a scale does not fit the format: it is no finite number, or it
// is too large for f16.
bool encode(Type type, const float* values, std::size_t count, std::byte* out);

}  // namespace troupe::quant
