// Products of runs (quant/layout.h) on AVX2: a vector of 32-bit lanes is eight rows. maddubs
// multiplies unsigned by signed bytes and adds pairs in 16 bits with saturation. A comment below
// says why it never saturates.

#if !defined(TROUPE_KERNELS_MATMUL_AVX2_INL_H_)
#define TROUPE_KERNELS_MATMUL_AVX2_INL_H_

#include <troupe/runtime/kernels/vector/matmul_common-inl.h>

// The instruction sets, beyond the target's own, for which a function that calls add_run must be
// compiled.
#define TROUPE_RUN_TARGET

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

// The number of columns of a tile, whose sums fit into sixteen registers.
template <class Layout>
constexpr std::size_t kTileColumns = Layout::kMathBits == 8 ? 4 : 3;

// The target's instructions multiply integers that are larger than the weights by this amount, so
// that each sum of products is too large by this times the sum of the activations.
template <class Layout>
constexpr int kRunOffset = 0;

// From this number of columns on, a group's integers are unpacked once for all tiles: with five and
// six bits that saves a third of a tile's operations. With four bits it would save a seventh, which
// gains nothing.
template <class Layout>
constexpr std::size_t kExpandColumns =
    Layout::kBits == 3 || Layout::kBits == 5 || Layout::kBits == 6 ||
            Layout::kCodes != quant::Codes::kIntegers
        ? 12
        : SIZE_MAX;

// Pairs of products, which 16 bits hold: |pair| <= 2 * (2^bits - 1) * 127, which is 1778 for three
// bits, 3810 for four, 7874 for five, 16002 for six; |w| * sign(a, w) of signed bytes is 2 * 128 *
// 127 = 32512 at most, as a is never -128. Halves of a run with scales of their own have four
// pairs.
template <class Layout>
constexpr std::size_t kPairsThatFit = Layout::kMathBits <= 4   ? 8 / kScales<Layout>
                                      : Layout::kMathBits == 5 ? 4
                                      : Layout::kMathBits == 6 ? 2
                                                               : 1;

// Pins the order of integer additions: GCC would gather all products of a block first and spill
// them, at half the speed.
HWY_INLINE void in_this_order(__m256i& sum) { asm("" : "+x"(sum)); }

// Returns the products of 16-bit pairs, added in 32 bits.
HWY_INLINE Ints pair_products(Ints a, Ints b) { return Ints{_mm256_madd_epi16(a.raw, b.raw)}; }

// Returns the signed bytes b0 and b1 of every lane, as the two 16-bit halves of the lane.
HWY_INLINE Ints byte_pair(Ints bytes, std::size_t b0, std::size_t b1) {
  const auto low = static_cast<int>(b0 << 8 | 0x80), high = static_cast<int>(b1 << 8 | 0x80);
  const int first = high << 16 | low, step = 0x04000400;
  const __m256i places = _mm256_setr_epi32(first, first + step, first + 2 * step, first + 3 * step,
                                           first, first + step, first + 2 * step, first + 3 * step);
  return Ints{_mm256_srai_epi16(_mm256_shuffle_epi8(bytes.raw, places), 8)};
}
// Returns signed byte b of every lane as the scale of a sub-block.
HWY_INLINE Ints byte_scale(Ints bytes, std::size_t b) { return byte_pair(bytes, b, b); }
HWY_INLINE Ints unit_scale() { return Ints{_mm256_set1_epi16(1)}; }

// isum[part][c] += the products of a run with 32 activations of each of C columns, times the run's
// kScales scales, which are byte_scale or unit_scale. The columns begin at `a` and lie `stride`
// bytes apart. An expanded run has a byte for each integer (expand_run). Fetches `ahead` meanwhile.
template <class Layout, bool kScaled, bool kExpanded, std::size_t C>
HWY_INLINE void add_run(const std::byte* run, const std::int8_t* a, std::size_t stride,
                        const Ints (*scales)[kParts], Ints (&isum)[kParts][C], StreamPart ahead) {
  constexpr std::size_t kBits = Layout::kMathBits;
  __m256i narrow[kParts][C];
#pragma GCC unroll 8
  for (std::size_t p = 0; p < 8; ++p) {
    constexpr std::size_t kFit = kPairsThatFit<Layout>;
    __m256i weights[kParts], magnitude[kParts];
    ahead.piece(p);
    for (std::size_t h = 0; h < kParts; ++h) {
      weights[h] = integers_of<Layout, kExpanded>(run, p, h).raw;
      magnitude[h] = kBits == 8 ? _mm256_abs_epi8(weights[h]) : weights[h];
    }
    for (std::size_t c = 0; c < C; ++c) {
      const __m256i four = _mm256_set1_epi32(load_four(a + c * stride + 4 * p));
      for (std::size_t h = 0; h < kParts; ++h) {
        const __m256i pairs = _mm256_maddubs_epi16(
            magnitude[h], kBits == 8 ? _mm256_sign_epi8(four, weights[h]) : four);
        narrow[h][c] = p % kFit == 0 ? pairs : _mm256_add_epi16(narrow[h][c], pairs);
        if (kFit > 1) in_this_order(narrow[h][c]);
        if (p % kFit != kFit - 1) continue;
        const __m256i wide =
            _mm256_madd_epi16(narrow[h][c], scales[kScales<Layout> == 2 ? p / 4 : 0][h].raw);
        isum[h][c].raw = _mm256_add_epi32(isum[h][c].raw, wide);
        in_this_order(isum[h][c].raw);
      }
    }
  }
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
