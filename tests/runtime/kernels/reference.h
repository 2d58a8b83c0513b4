#pragma once

#include <vector>

#include <troupe/runtime/kernels/kernels.h>

// The oracle of the kernels: plain loops on plain arrays, in the order that the lane rule defines,
// with weights as the file has them. Every kernel of every target equals these bit for bit. Slow;
// for tests only.

namespace troupe::kernels::reference {

// Quantizes one row of `columns` floats into the blocks for which `out` has memory.
void quantize_row(const float* x, std::size_t columns, const QuantizedRows& out);

// Returns W[row] . x for one output: `file_row` has the bytes of the file, and x is one row of
// activations.
float dot(quant::Type type, const std::byte* file_row, std::size_t columns, const float* x);

void rms_norm(const float* x, const float* weight, float eps, std::size_t channels, float* out);

void layer_norm(const float* x, const float* weight, const float* bias, float eps,
                std::size_t channels, float* out);

void rope(float* x, std::size_t heads, std::size_t head_dim, std::size_t rotary_dim,
          const float* cos_sin, bool interleaved);

// Computes one query vector over keys [first, last] of k and v (keys, head_dim), already rounded to
// the cache's type; key j has absolute position j. relative[j], if there are any, is added to the
// score of key j.
void attention_row(const float* q, const float* k, const float* v, std::size_t head_dim,
                   std::size_t first, std::size_t last, float scale, float cap, const float* sink,
                   float* out, const float* relative = nullptr);

float silu(float x);
float gelu_tanh(float x);
float gelu_erf(float x);

}  // namespace troupe::kernels::reference
