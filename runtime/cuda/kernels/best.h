#pragma once

#include <troupe/runtime/cuda/kernels/arithmetic.h>

// The id of the largest logit of each row: ties go to the lower id, and a NaN is reported. The
// comparison is a total order, so the bits do not depend on how the ids are split.

namespace troupe::cuda::TROUPE_CUDA_SIDE {

// The best of some ids.
struct Best {
  float value;
  int id;   // -1: none yet
  int nan;  // 1: one of the logits is a NaN
};

__device__ inline Best better(const Best& a, const Best& b) {
  const bool second =
      a.id < 0 || (b.id >= 0 && (b.value > a.value || (b.value == a.value && b.id < a.id)));
  Best best = second ? b : a;
  best.nan = a.nan | b.nan;
  return best;
}

constexpr int kBestThreads = 128, kBestColumns = 4096;

// Finds the best of the block's threads; thread 0 writes it to *out.
__device__ inline void best_of_block(Best mine, Best* shared, Best* out) {
  for (int apart = 16; apart > 0; apart /= 2) {
    const Best other = {__shfl_xor_sync(kWholeWarp, mine.value, apart),
                        __shfl_xor_sync(kWholeWarp, mine.id, apart),
                        __shfl_xor_sync(kWholeWarp, mine.nan, apart)};
    mine = better(mine, other);
  }
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = mine;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < static_cast<int>(blockDim.x / kWarp); ++i) mine = better(mine, shared[i]);
  *out = mine;
}

// Finds the best of kBestColumns logits. Grid (parts, rows).
__global__ void best_of_part(const float* logits, int columns, Best* parts) {
  GPU_SHARED(Best, shared, kBestThreads / kWarp);
  const float* row = logits + static_cast<std::size_t>(blockIdx.y) * columns;
  const int begin = static_cast<int>(blockIdx.x) * kBestColumns;
  const int end = begin + kBestColumns < columns ? begin + kBestColumns : columns;
  Best best = {0.0f, -1, 0};
  for (int id = begin + static_cast<int>(threadIdx.x); id < end; id += blockDim.x) {
    const bool is_nan = row[id] != row[id];
    best = better(best, {row[id], is_nan ? -1 : id, is_nan ? 1 : 0});
  }
  best_of_block(best, shared, parts + blockIdx.y * gridDim.x + blockIdx.x);
}

// Finds the best of a row's parts. Grid (rows).
__global__ void best_of_row(const Best* parts, int count, Best* out) {
  GPU_SHARED(Best, shared, kBestThreads / kWarp);
  Best best = {0.0f, -1, 0};
  for (int i = threadIdx.x; i < count; i += blockDim.x)
    best = better(best, parts[static_cast<std::size_t>(blockIdx.x) * count + i]);
  best_of_block(best, shared, out + blockIdx.x);
}

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
