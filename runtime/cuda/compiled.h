#pragma once

// nvcc's side of gpu.h: the instructions that C++ cannot express, and the calls of the CUDA runtime
// that the accelerator makes. Included by gpu.h only.

#include <cstddef>
#include <cstdint>
#include <string>

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define TROUPE_CUDA_SIDE compiled
namespace troupe::cuda {
inline namespace TROUPE_CUDA_SIDE {}
}  // namespace troupe::cuda

#define GPU_SHARED(T, name, count) __shared__ T name[count]

namespace troupe::cuda::TROUPE_CUDA_SIDE {

__device__ inline float fma(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ inline float square_root(float a) { return __fsqrt_rn(a); }
__device__ inline float from_half(std::uint16_t bits) {
  return __half2float(__ushort_as_half(bits));
}
__device__ inline float as_float(std::uint32_t bits) { return __uint_as_float(bits); }
__device__ inline std::uint32_t as_bits(float value) { return __float_as_uint(value); }

// Returns c + the four products of signed bytes.
__device__ inline int dot4(std::uint32_t a, std::uint32_t b, int c) {
  return __dp4a(static_cast<int>(a), static_cast<int>(b), c);
}

// d += a (16 x 32, i8) . b (32 x 8, i8), exact; fragments as PTX draws them for m16n8k32.
__device__ inline void mma_s8(int (&d)[4], const std::uint32_t (&a)[4],
                              const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The calls of the runtime. An Error of 0 is success; no call throws or ends the program. Copies
// are asynchronous: the stream orders them, and their host memory must stay until the stream was
// waited for.
using Error = int;
using Stream = cudaStream_t;

inline std::string describe(Error error) {
  const auto code = static_cast<cudaError_t>(error);
  return std::string(cudaGetErrorString(code)) + " (" + cudaGetErrorName(code) + ")";
}
// Says whether only the end of the process clears this error.
inline bool is_sticky(Error error) {
  return error != cudaSuccess && error != cudaErrorMemoryAllocation &&
         error != cudaErrorInvalidValue;
}
inline bool is_out_of_memory(Error error) { return error == cudaErrorMemoryAllocation; }

inline Error use_device(int device) { return cudaSetDevice(device); }
inline Error make_stream(Stream* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking);
}
inline void end_stream(Stream stream) { static_cast<void>(cudaStreamDestroy(stream)); }
inline Error wait_for(Stream stream) { return cudaStreamSynchronize(stream); }
// Returns the last error of this thread's calls, whether or not it was returned before, and forgets
// it unless it is sticky.
inline Error last_error() { return cudaGetLastError(); }
inline Error memory_of(std::size_t* free_bytes, std::size_t* all_bytes) {
  return cudaMemGetInfo(free_bytes, all_bytes);
}
inline Error allocate(std::byte** memory, std::size_t bytes) {
  return cudaMalloc(reinterpret_cast<void**>(memory), bytes);
}
inline void release(std::byte* memory) { static_cast<void>(cudaFree(memory)); }
// Allocates host memory that copies read and write directly.
inline Error allocate_pinned(std::byte** memory, std::size_t bytes) {
  return cudaMallocHost(reinterpret_cast<void**>(memory), bytes);
}
inline void release_pinned(std::byte* memory) { static_cast<void>(cudaFreeHost(memory)); }
inline Error copy_in(Stream stream, void* to, const void* from, std::size_t bytes) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream);
}
inline Error copy_out(Stream stream, void* to, const void* from, std::size_t bytes) {
  return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream);
}

// Launches that were recorded once, with their arguments, and run again by one call. While a stream
// records, its launches do not run.
class Recording {
 public:
  Recording() = default;
  ~Recording() {
    if (graph_ != nullptr) static_cast<void>(cudaGraphExecDestroy(graph_));
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  bool empty() const { return graph_ == nullptr; }
  Error begin(Stream stream) {
    return cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  }
  Error end(Stream stream) {
    cudaGraph_t captured = nullptr;
    Error error = cudaStreamEndCapture(stream, &captured);
    if (error == cudaSuccess) error = cudaGraphInstantiate(&graph_, captured, 0);
    if (captured != nullptr) static_cast<void>(cudaGraphDestroy(captured));
    return error;
  }
  Error play(Stream stream) { return cudaGraphLaunch(graph_, stream); }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

template <class... P, class... A>
void launch(Stream stream, void (*kernel)(P...), dim3 grid, unsigned threads, A... arguments) {
  kernel<<<grid, threads, 0, stream>>>(static_cast<P>(arguments)...);
}

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
