#include <troupe/runtime/kernels/targets.h>

// The tables of the vector targets.

#if TROUPE_X86_TARGETS

namespace troupe::kernels {

const Kernels& avx2_table() {
  static constexpr Kernels kTable = {
      .isa = Isa::kAvx2,
      .quantize_rows = N_AVX2::quantize_rows,
      .matmul = N_AVX2::matmul,
      .rms_norm = N_AVX2::rms_norm,
      .layer_norm = N_AVX2::layer_norm,
      .rope = N_AVX2::rope,
      .kv_write = N_AVX2::kv_write,
      .attention = N_AVX2::attention,
      .silu_mul = N_AVX2::silu_mul,
      .gelu_tanh = N_AVX2::gelu_tanh,
      .gelu_erf = N_AVX2::gelu_erf,
      .tanh = N_AVX2::tanh,
      .exp = N_AVX2::exp,
  };
  return kTable;
}

const Kernels& avx512_table() {
  static constexpr Kernels kTable = {
      .isa = Isa::kAvx512,
      .quantize_rows = N_AVX3::quantize_rows,
      .matmul = N_AVX3::matmul,
      .rms_norm = N_AVX3::rms_norm,
      .layer_norm = N_AVX3::layer_norm,
      .rope = N_AVX3::rope,
      .kv_write = N_AVX3::kv_write,
      .attention = N_AVX3::attention,
      .silu_mul = N_AVX3::silu_mul,
      .gelu_tanh = N_AVX3::gelu_tanh,
      .gelu_erf = N_AVX3::gelu_erf,
      .tanh = N_AVX3::tanh,
      .exp = N_AVX3::exp,
  };
  return kTable;
}

}  // namespace troupe::kernels

#endif  // TROUPE_X86_TARGETS
