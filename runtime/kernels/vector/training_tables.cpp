#include <troupe/runtime/kernels/training_targets.h>

// The tables of the vector targets' training kernels.

namespace troupe::kernels {

#if defined(__x86_64__)

const TrainingKernels& avx2_training_table() {
  static constexpr TrainingKernels kTable = {
      .isa = Isa::kAvx2,
      .panel_columns = 6,
      .pack_panels = N_AVX2::pack_panels,
      .weight_gradient = N_AVX2::weight_gradient,
      .attention_backward = N_AVX2::attention_backward,
      .silu_mul_backward = N_AVX2::silu_mul_backward,
      .gelu_tanh_backward = N_AVX2::gelu_tanh_backward,
      .gelu_erf_backward = N_AVX2::gelu_erf_backward,
  };
  return kTable;
}

const TrainingKernels& avx512_training_table() {
  static constexpr TrainingKernels kTable = {
      .isa = Isa::kAvx512,
      .panel_columns = 12,
      .pack_panels = N_AVX3::pack_panels,
      .weight_gradient = N_AVX3::weight_gradient,
      .attention_backward = N_AVX3::attention_backward,
      .silu_mul_backward = N_AVX3::silu_mul_backward,
      .gelu_tanh_backward = N_AVX3::gelu_tanh_backward,
      .gelu_erf_backward = N_AVX3::gelu_erf_backward,
  };
  return kTable;
}

#endif

}  // namespace troupe::kernels
