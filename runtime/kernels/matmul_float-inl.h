// Tiles of F32, F16 and BF16 weights: one FMA a weight, in k order. Re-included for each target.

#if defined(TROUPE_KERNELS_MATMUL_FLOAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TROUPE_KERNELS_MATMUL_FLOAT_INL_H_
#undef TROUPE_KERNELS_MATMUL_FLOAT_INL_H_
#else
#define TROUPE_KERNELS_MATMUL_FLOAT_INL_H_
#endif

#include <troupe/runtime/kernels/matmul_common-inl.h>

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

template <quant::Type kType>
constexpr std::size_t kWeightBytes = kType == quant::Type::kF32 ? 4 : 2;

template <quant::Type kType>
HWY_INLINE Floats load_weights(const std::byte* from) {
  if constexpr (kType == quant::Type::kF16) {
    return load_f16(from);
  } else if constexpr (kType == quant::Type::kBF16) {
    const hn::Rebind<std::uint16_t, IntTag> halves;
    const auto bits = hn::LoadU(halves, reinterpret_cast<const std::uint16_t*>(from));
    return hn::BitCast(kFloat, hn::ShiftLeft<16>(hn::PromoteTo(kInt, bits)));
  } else {
    return hn::LoadU(kFloat, reinterpret_cast<const float*>(from));
  }
}

template <quant::Type kType>
struct FloatTile {
  static constexpr std::size_t kColumns = HWY_TARGET == HWY_AVX2 ? 6 : 12;
  static constexpr std::size_t kElementBytes = sizeof(float);

  const std::byte* group;
  const Activations& x;
  Output output;

  template <std::size_t C>
  void run(std::size_t column) const {
    Floats sums[kParts][C];
    for (std::size_t p = 0; p < kParts; ++p)
      for (std::size_t c = 0; c < C; ++c) sums[p][c] = hn::Zero(kFloat);
    const float* in = x.x + column * x.columns;
    const std::byte* at = group;
    for (std::size_t k = 0; k < x.columns; ++k, at += kGroupRows * kWeightBytes<kType>) {
      Floats weights[kParts];
      for (std::size_t p = 0; p < kParts; ++p)
        weights[p] = load_weights<kType>(at + p * kLanes * kWeightBytes<kType>);
      for (std::size_t c = 0; c < C; ++c) {
        const Floats value = hn::Set(kFloat, in[c * x.columns + k]);
        for (std::size_t p = 0; p < kParts; ++p)
          sums[p][c] = hn::MulAdd(weights[p], value, sums[p][c]);
      }
    }
    for (std::size_t c = 0; c < C; ++c)
      for (std::size_t p = 0; p < kParts; ++p) put(output, column + c, p * kLanes, sums[p][c]);
  }
};

// One column: a chain waits for its last FMA, so that several groups go side by side.
template <quant::Type kType>
void float_vector(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
                  std::size_t group_end, float* out, bool accumulate) {
  constexpr std::size_t kGroups = 8 / kParts;
  std::size_t group = group_begin;
  for (; group + kGroups <= group_end; group += kGroups) {
    Floats sums[kGroups][kParts];
    const std::byte* weights[kGroups];
    for (std::size_t g = 0; g < kGroups; ++g) {
      weights[g] = w.data.data() + (group + g) * w.group_bytes;
      for (std::size_t p = 0; p < kParts; ++p) sums[g][p] = hn::Zero(kFloat);
    }
    for (std::size_t k = 0; k < x.columns; ++k) {
      const Floats value = hn::Set(kFloat, x.x[k]);
      for (std::size_t g = 0; g < kGroups; ++g)
        for (std::size_t p = 0; p < kParts; ++p) {
          const std::byte* from = weights[g] + (k * kGroupRows + p * kLanes) * kWeightBytes<kType>;
          sums[g][p] = hn::MulAdd(load_weights<kType>(from), value, sums[g][p]);
        }
    }
    for (std::size_t g = 0; g < kGroups; ++g) {
      const Output output = output_of(w, group + g, out, 0, accumulate);
      for (std::size_t p = 0; p < kParts; ++p) put(output, 0, p * kLanes, sums[g][p]);
    }
  }
  if (group < group_end) run_tiles<FloatTile<kType>>(w, x, group, group_end, out, 0, accumulate);
}

template <quant::Type kType>
void float_matmul(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
                  std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  if (x.rows == 1) {
    float_vector<kType>(w, x, group_begin, group_end, out, accumulate);
  } else {
    run_tiles<FloatTile<kType>>(w, x, group_begin, group_end, out, out_stride, accumulate);
  }
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
