#pragma once

#include <cstddef>

// One superblock of 256 values as the bytes of a file, for encode.cpp; the layouts are drawn in the
// formats' source files. Each returns false if a scale does not fit into f16. Values are finite.

namespace troupe::quant {

bool put_q2_k(const float* x, std::byte* out);
bool put_q3_k(const float* x, std::byte* out);
bool put_q4_k(const float* x, std::byte* out);
bool put_q5_k(const float* x, std::byte* out);
bool put_q6_k(const float* x, std::byte* out);
bool put_iq4_xs(const float* x, std::byte* out);
// Writes a block of 32 values.
bool put_iq4_nl(const float* x, std::byte* out);

}  // namespace troupe::quant
