#pragma once

#include <troupe/runtime/cuda/kernels/arithmetic.h>

// Kernels that take rows of activations by themselves: norm, activation, and the int8 blocks that
// quantized weights multiply (kernels::QuantizedRows says what these are).

namespace troupe::cuda::TROUPE_CUDA_SIDE {

// kernels::QuantizedRows on the device; pointers that nobody needs are null.
struct RowBlocks {
  std::int8_t* q = nullptr;            // (B, K)
  float* d = nullptr;                  // (B, K / 32)
  float* s = nullptr;                  // (B, K / 32)
  int* sum = nullptr;                  // (B, K / 32)
  std::int8_t* super_q = nullptr;      // (B, K)
  float* super_d = nullptr;            // (B, K / 256)
  std::int16_t* super_sums = nullptr;  // (B, K / 16)
};

// Quantizes a block whose elements a warp holds: element 32 i + lane is x[i]. Returns its d.
template <int kCount>
__device__ inline float quantize_block(const float (&x)[kCount], int (&q)[kCount]) {
  std::uint32_t amax = 0;
  for (int i = 0; i < kCount; ++i) {
    const std::uint32_t bits = as_bits(x[i]) & 0x7fffffffu;
    amax = bits > amax ? bits : amax;
  }
  for (int apart = 16; apart > 0; apart /= 2) {
    const std::uint32_t other = __shfl_xor_sync(kWholeWarp, amax, apart);
    amax = other > amax ? other : amax;
  }
  const float largest = as_float(amax);
  const bool finite = amax < 0x7f800000u, zero = finite && largest < 0x1p-100f;
  const float inverse = 127.0f / largest;
  for (int i = 0; i < kCount; ++i) {
    const float shifted = x[i] * inverse + 12582912.0f;
    q[i] = finite && !zero ? static_cast<std::int8_t>(as_bits(shifted) & 0xffu) : 0;
  }
  return zero ? 0.0f : finite ? largest / 127.0f : not_a_number();
}

// Quantizes columns [begin, end) of row `row` of x (B, K): the warps of the block take turns.
// `begin` and `end` are multiples of the blocks that `out` asks for.
__device__ inline void quantize_columns(const float* x, int columns, int row, int begin, int end,
                                        const RowBlocks& out) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const std::size_t start = static_cast<std::size_t>(row) * columns;
  for (int c = begin + 32 * warp; out.q != nullptr && c < end; c += 32 * warps) {
    const float value[1] = {x[start + c + lane]};
    int q[1];
    const float d = quantize_block<1>(value, q);
    const int sum = warp_sum(q[0], 32);
    out.q[start + c + lane] = static_cast<std::int8_t>(q[0]);
    const std::size_t block = (start + c) / 32;
    if (lane == 0) {
      out.d[block] = d;
      out.sum[block] = sum;
      out.s[block] = d * static_cast<float>(sum);
    }
  }
  for (int c = begin + 256 * warp; out.super_q != nullptr && c < end; c += 256 * warps) {
    float values[8];
    int q[8];
    for (int i = 0; i < 8; ++i) values[i] = x[start + c + 32 * i + lane];
    const float d = quantize_block<8>(values, q);
    const std::size_t block = (start + c) / 256;
    if (lane == 0) out.super_d[block] = d;
    for (int i = 0; i < 8; ++i) {
      out.super_q[start + c + 32 * i + lane] = static_cast<std::int8_t>(q[i]);
      const int sum = warp_sum(q[i], 16);
      if (lane % 16 == 0)
        out.super_sums[(start + c) / 16 + 2 * i + lane / 16] = static_cast<std::int16_t>(sum);
    }
  }
}

// out[i] = norm(x[rows[i]]), and its blocks; without `rows`, row i of x. One block of threads a
// row. Source: kernels::Kernels::rms_norm.
__global__ void norm_quantize(const float* x, const int* rows, const float* weight, float epsilon,
                              int channels, float* out, RowBlocks blocks) {
  GPU_SHARED(float, inverse, 1);
  const int row = static_cast<int>(blockIdx.x);
  const float* in = x + static_cast<std::size_t>(rows == nullptr ? row : rows[row]) * channels;
  if (threadIdx.x < kWarp) {
    float partial = 0.0f;
    for (int c = threadIdx.x % 16; c < channels; c += 16) partial = fma(in[c], in[c], partial);
    const float mean = tree_sum(partial) / static_cast<float>(channels);
    if (threadIdx.x == 0) inverse[0] = 1.0f / square_root(mean + epsilon);
  }
  __syncthreads();
  float* to = out + static_cast<std::size_t>(row) * channels;
  for (int c = threadIdx.x; c < channels; c += blockDim.x) to[c] = in[c] * inverse[0] * weight[c];
  __syncthreads();
  quantize_columns(out, channels, row, 0, channels, blocks);
}

// Columns of one block of threads of swiglu_quantize.
constexpr int kSwigluColumns = 1024;

// gate = silu(gate) * up, and its blocks. Grid (columns / kSwigluColumns rounded up, rows).
__global__ void swiglu_quantize(float* gate, const float* up, int columns, RowBlocks blocks) {
  const int row = static_cast<int>(blockIdx.y);
  const int begin = static_cast<int>(blockIdx.x) * kSwigluColumns;
  const int end = begin + kSwigluColumns < columns ? begin + kSwigluColumns : columns;
  const std::size_t start = static_cast<std::size_t>(row) * columns;
  for (int c = begin + static_cast<int>(threadIdx.x); c < end; c += blockDim.x) {
    const float g = gate[start + c];
    gate[start + c] = g / (1.0f + exp_same(-g)) * up[start + c];
  }
  __syncthreads();
  quantize_columns(gate, columns, row, begin, end, blocks);
}

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
