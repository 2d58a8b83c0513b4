// Matrix products of the vector targets: picks the tile of the weight format. Compiled once for
// each target.

#include <cstring>
#include <string>

#include <troupe/runtime/kernels/targets.h>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE <troupe/runtime/kernels/vector/matmul.cpp>
#include <troupe/runtime/kernels/vector/foreach_target.h>

#if TROUPE_VECTOR_TARGET
#include <troupe/runtime/kernels/vector/matmul_float-inl.h>
#include <troupe/runtime/kernels/vector/matmul_tiles-inl.h>

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

void matmul(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
            std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  const auto floats = [&]<quant::Type kType>() {
    float_matmul<kType>(w, x, group_begin, group_end, out, out_stride, accumulate);
  };
  const auto integers = [&]<class Sums>() {
    integer_matmul<Sums>(w, x, group_begin, group_end, out, out_stride, accumulate);
  };
  switch (w.type) {
    case quant::Type::kF32:
      return floats.template operator()<quant::Type::kF32>();
    case quant::Type::kF16:
      return floats.template operator()<quant::Type::kF16>();
    case quant::Type::kBF16:
      return floats.template operator()<quant::Type::kBF16>();
    case quant::Type::kQ4_0:
      return integers.template operator()<BlockSums<quant::Q4_0Layout>>();
    case quant::Type::kQ4_1:
      return integers.template operator()<BlockSums<quant::Q4_1Layout>>();
    case quant::Type::kQ5_0:
      return integers.template operator()<BlockSums<quant::Q5_0Layout>>();
    case quant::Type::kQ5_1:
      return integers.template operator()<BlockSums<quant::Q5_1Layout>>();
    case quant::Type::kQ8_0:
      return integers.template operator()<BlockSums<quant::Q8_0Layout>>();
    case quant::Type::kQ4_K:
      return integers.template operator()<SuperblockSums<quant::Q4_KLayout>>();
    case quant::Type::kQ5_K:
      return integers.template operator()<SuperblockSums<quant::Q5_KLayout>>();
    case quant::Type::kQ6_K:
      return integers.template operator()<SuperblockSums<quant::Q6_KLayout>>();
  }
  TROUPE_CHECK(false, "no kernel for weight type " + std::to_string(static_cast<int>(w.type)));
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // TROUPE_VECTOR_TARGET
