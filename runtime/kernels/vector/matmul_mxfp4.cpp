// Products of MXFP4 weights on the vector targets: a unit of its own, because tiles take long to
// compile. Compiled once for each target.

#include <troupe/runtime/kernels/targets.h>

#ifndef TROUPE_KERNEL_GROUP
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE <troupe/runtime/kernels/vector/matmul_mxfp4.cpp>
#endif
#include <troupe/runtime/kernels/vector/foreach_target.h>

#if TROUPE_VECTOR_TARGET
#include <troupe/runtime/kernels/vector/matmul_tiles-inl.h>

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

void matmul_mxfp4(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
                  std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  integer_matmul<quant::MXFP4Layout>(w, x, group_begin, group_end, out, out_stride, accumulate);
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // TROUPE_VECTOR_TARGET
