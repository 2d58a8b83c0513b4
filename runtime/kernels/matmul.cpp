// Matrix products of the vector targets: picks the tile of the weight format. Compiled once for
// each target.

#include <cstring>
#include <string>

#include <troupe/runtime/kernels/targets.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE <troupe/runtime/kernels/matmul.cpp>
#include <troupe/runtime/kernels/foreach_target.h>

#if TROUPE_VECTOR_TARGET
#include <troupe/runtime/kernels/matmul_float-inl.h>
#if HWY_TARGET == HWY_AVX2
#include <troupe/runtime/kernels/matmul_avx2-inl.h>
#else
#include <troupe/runtime/kernels/matmul_avx512-inl.h>
#endif

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

void matmul(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
            std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  switch (w.type) {
    case quant::Type::kF32:
      return float_matmul<4>(w, x, group_begin, group_end, out, out_stride, accumulate);
    case quant::Type::kF16:
      return float_matmul<2>(w, x, group_begin, group_end, out, out_stride, accumulate);
    case quant::Type::kQ4_1:
      return run_tiles<Q4_1Tile>(w, x, group_begin, group_end, out, out_stride, accumulate);
    case quant::Type::kQ8_0:
      return run_tiles<Q8_0Tile>(w, x, group_begin, group_end, out, out_stride, accumulate);
    default:
      TROUPE_CHECK(false, "no kernel for weight type " + std::to_string(static_cast<int>(w.type)));
  }
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // TROUPE_VECTOR_TARGET
