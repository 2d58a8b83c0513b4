#pragma once

// Elementary functions in f32 whose bits are the same on every machine: only bit operations, fma,
// +,
// -, * and /, never a libm function that could differ. They are the definition that every kernel
// target follows operation by operation; the samplers and softmaxes outside the kernels call them
// directly. Pure.

namespace troupe {

// exp(x) within 2 ulp on [-87, 88], clamped outside.
float exp_bits(float x);
// log(x) within 2 ulp on normal numbers; log(0) = -inf, NaN below 0.
float log_bits(float x);
// tanh(x) within 3 ulp.
float tanh_bits(float x);
// erf(x) within a 2^-21st of its value.
float erf_bits(float x);
// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Source: Hendrycks & Gimpel 2016.
float gelu_tanh_bits(float x);
// x/2 (1 + erf(x / sqrt(2))). Source: Hendrycks & Gimpel 2016.
float gelu_erf_bits(float x);

}  // namespace troupe
