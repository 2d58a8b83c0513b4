#pragma once

#include <troupe/runtime/kernels/kernels.h>

// The targets' tables, and what they share. For the files of this folder only; all others use
// kernels::table.

namespace troupe::kernels {

const Kernels& scalar_table();  // plain C++ with std::fma, no special compiler flags
#if defined(__x86_64__)
#define TROUPE_X86_TARGETS 1
const Kernels& avx2_table();    // AVX2, FMA, F16C
const Kernels& avx512_table();  // AVX-512 F, BW, DQ, VL and VNNI
#endif

// Kernels::matmul of one weight format.
using MatmulFunction = void(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
                            std::size_t group_end, float* out, std::size_t out_stride,
                            bool accumulate);
#define TROUPE_DECLARE_MATMUL(name, title, number) MatmulFunction matmul_##name;

// The vector targets' kernels, in Highway's namespace of each target. Contracts: kernels.h.
#define TROUPE_TARGET_KERNELS(NAMESPACE)                                                         \
  namespace NAMESPACE {                                                                          \
  void quantize_rows(const float* x, std::size_t columns, std::size_t row_begin,                 \
                     std::size_t row_end, QuantizedRows out);                                    \
  MatmulFunction matmul;                                                                         \
  TROUPE_QUANT_FORMATS(TROUPE_DECLARE_MATMUL)                                                    \
  void rms_norm(const float* x, const float* weight, float eps, std::size_t channels,            \
                std::size_t row_begin, std::size_t row_end, float* out);                         \
  void layer_norm(const float* x, const float* weight, const float* bias, float eps,             \
                  std::size_t channels, std::size_t row_begin, std::size_t row_end, float* out); \
  void rope(float* x, std::size_t heads, std::size_t head_dim, std::size_t rotary_dim,           \
            const float* cos_sin, bool interleaved);                                             \
  void kv_write(const float* k, const float* v, std::byte* page, KvType type,                    \
                std::size_t kv_heads, std::size_t head_dim, std::size_t key_in_page);            \
  void attention(const AttentionArgs& args, std::size_t head_begin, std::size_t head_end,        \
                 std::size_t row_begin, std::size_t row_end, float* scratch);                    \
  void silu_mul(float* gate, const float* up, std::size_t count);                                \
  void gelu_tanh(float* x, std::size_t count);                                                   \
  void gelu_erf(float* x, std::size_t count);                                                    \
  void tanh(const float* x, float* out, std::size_t count);                                      \
  void exp(const float* x, float* out, std::size_t count);                                       \
  }
#if TROUPE_X86_TARGETS
TROUPE_TARGET_KERNELS(N_AVX2)
TROUPE_TARGET_KERNELS(N_AVX3)
#endif
#undef TROUPE_DECLARE_MATMUL

// Query vectors (rows x heads of a key head) that one attention tile holds.
constexpr std::size_t kAttentionTile = 6;
// The floats of scratch in a tile for each query vector: the scores of whole pages, and two rows of
// channels.
constexpr std::size_t padded(std::size_t count, std::size_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}
constexpr std::size_t attention_tile_floats(std::size_t keys, std::size_t head_dim) {
  return padded(keys, kPageKeys) + kPageKeys + 2 * padded(head_dim, 16);
}

}  // namespace troupe::kernels
