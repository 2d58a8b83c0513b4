#pragma once

#include <troupe/runtime/kernels/training.h>

// The targets' tables of training kernels, and the vector targets' kernels, in Highway's namespace
// of each target. Contracts: training.h. For the files of this folder only; all others use
// kernels::training_table.

namespace troupe::kernels {

const TrainingKernels& scalar_training_table();
#if defined(__x86_64__)
const TrainingKernels& avx2_training_table();
const TrainingKernels& avx512_training_table();
#endif

#define TROUPE_TRAINING_KERNELS(NAMESPACE)                                                         \
  namespace NAMESPACE {                                                                            \
  void pack_panels(const float* x, std::size_t rows, std::size_t columns, std::size_t panel_begin, \
                   std::size_t panel_end, float* out);                                             \
  void weight_gradient(const float* panels, std::size_t columns, const float* dy,                  \
                       std::size_t rows, std::size_t outputs, const GradientSum& sum,              \
                       std::size_t group_begin, std::size_t group_end, float* scratch);            \
  void attention_backward(const AttentionBackwardArgs& args, std::size_t head_begin,               \
                          std::size_t head_end, float* scratch);                                   \
  void silu_mul_backward(const float* gate, const float* up, const float* dh, float* h,            \
                         float* dgate, float* dup, std::size_t count);                             \
  void gelu_tanh_backward(const float* x, const float* dh, float* h, float* dx,                    \
                          std::size_t count);                                                      \
  void gelu_erf_backward(const float* x, const float* dh, float* h, float* dx, std::size_t count); \
  }
#if defined(__x86_64__)
TROUPE_TRAINING_KERNELS(N_AVX2)
TROUPE_TRAINING_KERNELS(N_AVX3)
#endif

}  // namespace troupe::kernels
