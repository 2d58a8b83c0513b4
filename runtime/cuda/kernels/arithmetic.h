#pragma once

#include <cstddef>
#include <cstdint>

#include <troupe/runtime/cuda/gpu.h>
#include <troupe/runtime/numerics/half_bits.h>

// Functions of single numbers and of one warp that the kernels share. Each is the CPU's own
// function or follows it operation by operation (runtime/numerics, runtime/kernels/scalar.cpp), so
// the bits are the same.

namespace troupe::cuda::TROUPE_CUDA_SIDE {

constexpr unsigned kWarp = 32, kWholeWarp = ~0u;

template <class T>
__device__ inline T load(const unsigned char* at) {
  return *reinterpret_cast<const T*>(at);
}

__device__ inline float minus_infinity() { return as_float(0xff800000u); }
__device__ inline float not_a_number() { return as_float(0x7fc00000u); }

// troupe::exp_bits.
__device__ inline float exp_same(float x) {
  float v = -87.0f > x ? -87.0f : x;
  v = 88.0f < v ? 88.0f : v;
  const float shifted = fma(v, 1.44269504f, 12582912.0f);
  const float k = shifted - 12582912.0f;
  const float r = fma(k, -1.42860677e-6f, fma(k, -0.693145752f, v));
  float p = fma(1.9875691e-4f, r, 1.3981999e-3f);
  p = fma(p, r, 8.3334519e-3f);
  p = fma(p, r, 4.1665795e-2f);
  p = fma(p, r, 1.6666665e-1f);
  p = fma(p, r, 5.0000001e-1f);
  p = fma(p, r * r, r) + 1.0f;
  return p * as_float((as_bits(shifted) - 0x4b400000u + 127u) << 23);
}

// Does what troupe::f32_to_f16 does. The hardware's conversion would drop the payload of a NaN.
__device__ inline std::uint16_t to_half(float value) { return f16_from_f32_bits(as_bits(value)); }

__device__ inline float from_bfloat(std::uint16_t bits) {
  return as_float(static_cast<std::uint32_t>(bits) << 16);
}

// Returns the sum of 16 partial sums, which lanes i and i + 16 of a warp both hold as partial sum
// i, by the lane rule's tree. Every lane gets it: a + b and b + a are the same number.
__device__ inline float tree_sum(float partial) {
  for (int apart = 8; apart > 0; apart /= 2) partial += __shfl_xor_sync(kWholeWarp, partial, apart);
  return partial;
}

__device__ inline int warp_sum(int value, int lanes) {
  for (int apart = lanes / 2; apart > 0; apart /= 2)
    value += __shfl_xor_sync(kWholeWarp, value, apart);
  return value;
}

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
