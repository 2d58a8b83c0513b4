// Sixteen f32 lanes on every vector target, made of Highway's vectors: one of 16 lanes or two of 8.
// Re-included for each target.

#if defined(TROUPE_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TROUPE_KERNELS_SIMD_INL_H_
#undef TROUPE_KERNELS_SIMD_INL_H_
#else
#define TROUPE_KERNELS_SIMD_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using IntTag = hn::ScalableTag<std::int32_t>;
using Floats = hn::Vec<FloatTag>;
constexpr std::size_t kLanes = HWY_LANES(float);
constexpr std::size_t kParts = 16 / kLanes;  // vectors in sixteen lanes
constexpr FloatTag kFloat;
constexpr IntTag kInt;

// Fetches a line into the second-level cache. The first level has few places for misses under way:
// fetching into it is two thirds slower where memory is far.
HWY_INLINE void prefetch_second_level(const std::byte* line) {
  _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
}
// Fetches memory that is in the second level already.
HWY_INLINE void prefetch_first_level(const std::byte* line) {
  _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T0);
}

// Converts half precision to single, which is exact, so that the hardware's conversion gives the
// same bits as any other.
HWY_INLINE Floats load_f16(const void* from) {
#if HWY_TARGET == HWY_AVX2
  return Floats{_mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(from)))};
#else
  return Floats{_mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(from)))};
#endif
}
HWY_INLINE void store_f16(Floats value, void* to) {
  constexpr int kNearestEven = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
#if HWY_TARGET == HWY_AVX2
  _mm_storeu_si128(static_cast<__m128i*>(to), _mm256_cvtps_ph(value.raw, kNearestEven));
#else
  _mm256_storeu_si256(static_cast<__m256i*>(to), _mm512_cvtps_ph(value.raw, kNearestEven));
#endif
}

// Adds partial sums by the lane rule's tree: 8, 4, 2, 1 apart.
HWY_INLINE float tree_sum(const Floats (&partial)[kParts]) {
  alignas(64) float lanes[16];
  for (std::size_t p = 0; p < kParts; ++p) hn::Store(partial[p], kFloat, lanes + p * kLanes);
  for (std::size_t apart = 8; apart > 0; apart /= 2)
    for (std::size_t i = 0; i < apart; ++i) lanes[i] += lanes[i + apart];
  return lanes[0];
}

// Does what exp_bits does, operation by operation.
HWY_INLINE Floats exp_lanes(Floats x) {
  // maxps and minps give the second operand when one is NaN, so NaN goes through.
  Floats v = hn::Max(hn::Set(kFloat, -87.0f), x);
  v = hn::Min(hn::Set(kFloat, 88.0f), v);
  const Floats magic = hn::Set(kFloat, 12582912.0f);
  const Floats shifted = hn::MulAdd(v, hn::Set(kFloat, 1.44269504f), magic);
  const Floats k = hn::Sub(shifted, magic);
  Floats r = hn::MulAdd(k, hn::Set(kFloat, -0.693145752f), v);
  r = hn::MulAdd(k, hn::Set(kFloat, -1.42860677e-6f), r);
  Floats p = hn::Set(kFloat, 1.9875691e-4f);
  p = hn::MulAdd(p, r, hn::Set(kFloat, 1.3981999e-3f));
  p = hn::MulAdd(p, r, hn::Set(kFloat, 8.3334519e-3f));
  p = hn::MulAdd(p, r, hn::Set(kFloat, 4.1665795e-2f));
  p = hn::MulAdd(p, r, hn::Set(kFloat, 1.6666665e-1f));
  p = hn::MulAdd(p, r, hn::Set(kFloat, 5.0000001e-1f));
  p = hn::MulAdd(p, hn::Mul(r, r), r);
  p = hn::Add(p, hn::Set(kFloat, 1.0f));
  const auto exponent =
      hn::Add(hn::Sub(hn::BitCast(kInt, shifted), hn::Set(kInt, 0x4b400000)), hn::Set(kInt, 127));
  return hn::Mul(p, hn::BitCast(kFloat, hn::ShiftLeft<23>(exponent)));
}

// Does what tanh_bits does, operation by operation; both sides are computed and one is chosen.
HWY_INLINE Floats tanh_lanes(Floats x) {
  const Floats one = hn::Set(kFloat, 1.0f);
  const Floats a = hn::Abs(x), z = hn::Mul(x, x);
  Floats p = hn::Set(kFloat, -5.70498872745e-3f);
  p = hn::MulAdd(p, z, hn::Set(kFloat, 2.06390887954e-2f));
  p = hn::MulAdd(p, z, hn::Set(kFloat, -5.37397155531e-2f));
  p = hn::MulAdd(p, z, hn::Set(kFloat, 1.33314422036e-1f));
  p = hn::MulAdd(p, z, hn::Set(kFloat, -3.33332819422e-1f));
  const Floats near = hn::MulAdd(hn::Mul(p, z), x, x);
  const Floats two = hn::Set(kFloat, 2.0f);
  const Floats far = hn::Sub(one, hn::Div(two, hn::Add(exp_lanes(hn::Add(a, a)), one)));
  return hn::IfThenElse(hn::Lt(a, hn::Set(kFloat, 0.625f)), near, hn::CopySign(far, x));
}

// Does what erf_bits does, operation by operation.
HWY_INLINE Floats erf_lanes(Floats x) {
  Floats v = hn::Max(hn::Set(kFloat, -4.0f), x);
  v = hn::Min(hn::Set(kFloat, 4.0f), v);
  const Floats z = hn::Mul(v, v);
  Floats p = hn::Set(kFloat, 1.9107786e-8f);
  p = hn::MulAdd(p, z, hn::Set(kFloat, -1.941934e-6f));
  p = hn::MulAdd(p, z, hn::Set(kFloat, 1.4724557e-4f));
  p = hn::MulAdd(p, z, hn::Set(kFloat, 3.9893378e-3f));
  p = hn::MulAdd(p, z, hn::Set(kFloat, 5.1521368e-2f));
  p = hn::MulAdd(p, z, hn::Set(kFloat, 2.0710001e-1f));
  p = hn::MulAdd(p, z, hn::Set(kFloat, 1.1283791f));
  Floats q = hn::Set(kFloat, 1.0207746e-3f);
  q = hn::MulAdd(q, z, hn::Set(kFloat, 1.4955738e-2f));
  q = hn::MulAdd(q, z, hn::Set(kFloat, 1.1796014e-1f));
  q = hn::MulAdd(q, z, hn::Set(kFloat, 5.1686886e-1f));
  q = hn::MulAdd(q, z, hn::Set(kFloat, 1.0f));
  return hn::Div(hn::Mul(v, p), q);
}

HWY_INLINE Floats gelu_tanh_lanes(Floats x) {
  const Floats cube = hn::Mul(hn::Mul(x, x), hn::Set(kFloat, 0.044715f));
  const Floats inner = hn::Mul(hn::Set(kFloat, 0.79788456f), hn::MulAdd(cube, x, x));
  return hn::Mul(hn::Mul(hn::Set(kFloat, 0.5f), x),
                 hn::Add(hn::Set(kFloat, 1.0f), tanh_lanes(inner)));
}

HWY_INLINE Floats gelu_erf_lanes(Floats x) {
  const Floats inner = erf_lanes(hn::Mul(x, hn::Set(kFloat, 0.70710678f)));
  return hn::Mul(hn::Mul(hn::Set(kFloat, 0.5f), x), hn::Add(hn::Set(kFloat, 1.0f), inner));
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
