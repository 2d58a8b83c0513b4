#pragma once

#include <cstdint>

// Half-precision floats (IEEE 754 binary16) to and from f32, with bit operations only, so that
// every machine gives the same bits. The weight formats, the KV pages and the wire use them. Pure.

namespace troupe {

// Rounds to nearest even. A magnitude of 65520 or more becomes infinity, and a NaN becomes a quiet
// NaN.
std::uint16_t f32_to_f16(float value);
// Exact.
float f16_to_f32(std::uint16_t bits);

}  // namespace troupe
