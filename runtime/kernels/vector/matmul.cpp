// Matrix products of the vector targets: picks the unit of the weight format. Compiled once for
// each target.

#include <string>

#include <troupe/runtime/kernels/targets.h>

#ifndef TROUPE_KERNEL_GROUP
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE <troupe/runtime/kernels/vector/matmul.cpp>
#endif
#include <troupe/runtime/kernels/vector/foreach_target.h>

#if TROUPE_VECTOR_TARGET
HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

void matmul(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
            std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  switch (w.type) {
#define TROUPE_MATMUL_CASE(name, title, number) \
  case quant::Type::k##title:                   \
    return matmul_##name(w, x, group_begin, group_end, out, out_stride, accumulate);
    TROUPE_QUANT_FORMATS(TROUPE_MATMUL_CASE)
#undef TROUPE_MATMUL_CASE
    default:
      break;
  }
  TROUPE_CHECK(false, "no kernel for weight type " + std::to_string(static_cast<int>(w.type)));
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // TROUPE_VECTOR_TARGET
