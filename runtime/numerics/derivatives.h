#pragma once

// The derivatives of the activations in numerics/elementary.h, with the same bits on every machine.
// The vector targets follow them operation by operation. Pure.

namespace troupe {

// Returns 1 / (1 + exp(-x)).
float sigmoid_bits(float x);
// Returns the derivative of x sigmoid(x), given s = sigmoid(x): s (1 + x (1 - s)).
float silu_slope_bits(float x, float s);
// Returns the derivative of gelu_tanh_bits.
float gelu_tanh_slope_bits(float x);
// Returns the derivative of gelu_erf_bits.
float gelu_erf_slope_bits(float x);

}  // namespace troupe
