#pragma once

// One kernel source for two compilers. nvcc compiles it for a GPU (compiled.h); a host compiler
// compiles it as plain C++ that runs on an emulation of CUDA's threads (emulated.h), so that every
// kernel is tested on machines without a GPU. Kernels use only blockIdx, threadIdx, blockDim,
// __syncthreads, __syncwarp, __shfl_xor_sync, GPU_SHARED, and the functions that both headers
// define. Both sides compute IEEE single precision without contraction (nvcc -fmad=false, g++
// -ffp-contract=off), so the tests compare bits.
//
// Everything lies in troupe::cuda::TROUPE_CUDA_SIDE, an inline namespace with another name on each
// side, so that one program can hold both.

#ifdef __CUDACC__
#include <troupe/runtime/cuda/compiled.h>
#else
#include <troupe/runtime/cuda/emulated.h>
#endif
