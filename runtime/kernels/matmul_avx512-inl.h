// Tiles of quantized weights on AVX-512: sixteen rows in a vector. Formats: runtime/quant.
// kVnni: dpbusd multiplies unsigned by signed bytes and adds fours into 32 bits, exactly.

#if !defined(TROUPE_KERNELS_MATMUL_AVX512_INL_H_)
#define TROUPE_KERNELS_MATMUL_AVX512_INL_H_

#include <troupe/runtime/kernels/matmul_common-inl.h>

#define TROUPE_VNNI __attribute__((target("avx512vnni")))

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

HWY_INLINE __m512i load_512(const std::byte* from) { return _mm512_loadu_si512(from); }

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
