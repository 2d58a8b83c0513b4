#include <string>

#include <troupe/runtime/kernels/training.h>
#include <troupe/runtime/kernels/vector/training_targets.h>

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

const TrainingKernels& training_table(Isa isa) {
  TROUPE_CHECK(isa_supported(isa), std::string(isa_name(isa)));
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) return avx2_training_table();
  if (isa == Isa::kAvx512) return avx512_training_table();
#endif
  return scalar_training_table();
}

std::size_t attention_backward_scratch_floats(std::size_t count, std::size_t head_dim) {
  const std::size_t keys = (count + 15) / 16 * 16, channels = (head_dim + 15) / 16 * 16;
  return 6 * keys * channels + 2 * kBackwardRows * keys + kBackwardRows * channels;
}

}  // namespace troupe::kernels
