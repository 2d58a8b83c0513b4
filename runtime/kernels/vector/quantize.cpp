// Quantizing activations on the vector targets, to blocks of 32 and to superblocks of 256. Compiled
// once for each target.

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include <troupe/runtime/kernels/targets.h>

#ifndef TROUPE_KERNEL_GROUP
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE <troupe/runtime/kernels/vector/quantize.cpp>
#endif
#include <troupe/runtime/kernels/vector/foreach_target.h>

#if TROUPE_VECTOR_TARGET
#include <troupe/runtime/kernels/vector/simd-inl.h>

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {
namespace {

using Ints = hn::Vec<IntTag>;
constexpr std::size_t kBlockVectors = kBlock / kLanes;
constexpr std::size_t kSumVectors = kSumElements / kLanes;

// Stores the low bytes of 32 integers that fit them.
HWY_INLINE void store_i8(const Ints (&q)[kBlockVectors], std::int8_t* to) {
#if HWY_TARGET == HWY_AVX2
  const __m256i low = _mm256_packs_epi32(q[0].raw, q[1].raw);
  const __m256i high = _mm256_packs_epi32(q[2].raw, q[3].raw);
  // The pack instructions work within 128-bit halves: put the 4-byte pieces back in order.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
#else
  for (std::size_t p = 0; p < kBlockVectors; ++p)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 16 * p), _mm512_cvtepi32_epi8(q[p].raw));
#endif
}

// The factor of a block before it is rounded, and its d. 127 / amax is 0 for a block that is all
// zero or not finite; d is then 0 or NaN.
struct BlockScale {
  float inverse, d;
};
template <std::size_t kElements>
HWY_INLINE BlockScale scale_of(const float* in) {
  // Non-negative floats order as their bits do, and NaN is the greatest: an integer maximum is the
  // same in any order.
  auto amax_bits = hn::Zero(kInt);
  for (std::size_t k = 0; k < kElements; k += kLanes)
    amax_bits = hn::Max(amax_bits, hn::BitCast(kInt, hn::Abs(hn::LoadU(kFloat, in + k))));
  const std::int32_t bits = hn::GetLane(hn::MaxOfLanes(kInt, amax_bits));
  const float amax = std::bit_cast<float>(bits);
  if (bits >= 0x7f800000) return {0.0f, std::numeric_limits<float>::quiet_NaN()};
  if (amax < 0x1p-100f) return {0.0f, 0.0f};
  return {127.0f / amax, amax / 127.0f};
}

// Rounds 32 elements to the nearest even integers.
HWY_INLINE void round_block(const float* in, float inverse, Ints (&rounded)[kBlockVectors]) {
  const Floats factor = hn::Set(kFloat, inverse);
  for (std::size_t p = 0; p < kBlockVectors; ++p)
    rounded[p] = hn::NearestInt(hn::Mul(hn::LoadU(kFloat, in + p * kLanes), factor));
}

HWY_INLINE void quantize_block(const float* in, std::int8_t* q, float* d, float* s,
                               std::int32_t* sum) {
  const BlockScale scale = scale_of<kBlock>(in);
  *d = scale.d;
  if (scale.inverse == 0.0f) {
    std::memset(q, 0, kBlock);
    *s = scale.d;
    *sum = 0;
    return;
  }
  Ints rounded[kBlockVectors];
  round_block(in, scale.inverse, rounded);
  store_i8(rounded, q);
  auto total = rounded[0];
  for (std::size_t p = 1; p < kBlockVectors; ++p) total = hn::Add(total, rounded[p]);
  *sum = hn::GetLane(hn::SumOfLanes(kInt, total));
  *s = *d * static_cast<float>(*sum);
}

HWY_INLINE void quantize_superblock(const float* in, std::int8_t* q, float* d, std::int16_t* sums) {
  const BlockScale scale = scale_of<kSuperblock>(in);
  *d = scale.d;
  if (scale.inverse == 0.0f) {
    std::memset(q, 0, kSuperblock);
    std::memset(sums, 0, kSuperblock / kSumElements * sizeof(std::int16_t));
    return;
  }
  for (std::size_t k = 0; k < kSuperblock; k += kBlock) {
    Ints rounded[kBlockVectors];
    round_block(in + k, scale.inverse, rounded);
    store_i8(rounded, q + k);
    for (std::size_t i = 0; i < kBlock / kSumElements; ++i) {
      auto total = rounded[i * kSumVectors];
      for (std::size_t p = 1; p < kSumVectors; ++p)
        total = hn::Add(total, rounded[i * kSumVectors + p]);
      sums[k / kSumElements + i] =
          static_cast<std::int16_t>(hn::GetLane(hn::SumOfLanes(kInt, total)));
    }
  }
}

}  // namespace

void quantize_rows(const float* x, std::size_t columns, std::size_t row_begin, std::size_t row_end,
                   QuantizedRows out) {
  const std::size_t begin = row_begin * columns, end = row_end * columns;
  for (std::size_t i = begin / kBlock; out.q != nullptr && i < end / kBlock; ++i)
    quantize_block(x + i * kBlock, out.q + i * kBlock, out.d + i, out.s + i, out.sum + i);
  for (std::size_t i = begin / kSuperblock; out.super_q != nullptr && i < end / kSuperblock; ++i)
    quantize_superblock(x + i * kSuperblock, out.super_q + i * kSuperblock, out.super_d + i,
                        out.super_sums + i * (kSuperblock / kSumElements));
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // TROUPE_VECTOR_TARGET
