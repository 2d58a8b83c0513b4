#include <string>

#include <troupe/runtime/kernels/training_table.h>
#include <troupe/runtime/kernels/training_targets.h>

namespace troupe::kernels {

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
