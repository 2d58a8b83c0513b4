// Tiles of quantized weights on AVX2. maddubs multiplies unsigned by signed bytes and adds pairs
// in 16 bits with saturation; each tile says why it never saturates. Formats: runtime/quant.

#if !defined(TROUPE_KERNELS_MATMUL_AVX2_INL_H_)
#define TROUPE_KERNELS_MATMUL_AVX2_INL_H_

#include <troupe/runtime/kernels/matmul_common-inl.h>

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

HWY_INLINE __m256i load_256(const std::byte* from) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
}

// Pins the order of integer additions: GCC would gather all products of a block first and spill
// them, at half the speed.
HWY_INLINE void in_this_order(__m256i& sum) { asm("" : "+x"(sum)); }

// A tile is both halves of a group (sixteen rows), so that a broadcast serves two products.
struct Q4_1Tile {
  static constexpr std::size_t kColumns = 3;
  static constexpr bool kQuantized = true;

  template <std::size_t C>
  static void run(const std::byte* group, const Activations& activations, std::size_t column,
                  const Output& output) {
    const QuantizedColumns x(activations, column);
    const __m256i nibble = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256 sums[2][C];
    for (std::size_t h = 0; h < 2; ++h)
      for (std::size_t c = 0; c < C; ++c) sums[h][c] = _mm256_setzero_ps();
    for (std::size_t block = 0; block < x.blocks; ++block, group += 320) {
      __m256i isum[2][C];
      for (std::size_t g = 0; g < 4; ++g) {
        __m256i low[2], high[2];
        for (std::size_t h = 0; h < 2; ++h) {
          const __m256i packed = load_256(group + 64 * g + 32 * h);
          low[h] = _mm256_and_si256(packed, nibble);
          high[h] = _mm256_and_si256(_mm256_srli_epi16(packed, 4), nibble);
        }
        for (std::size_t c = 0; c < C; ++c) {
          // |pair| <= 2 * 15 * 127 = 3810, eight of them stay under 2^15.
          const __m256i a = _mm256_set1_epi32(x.four(c, block, 4 * g));
          const __m256i b = _mm256_set1_epi32(x.four(c, block, 16 + 4 * g));
          for (std::size_t h = 0; h < 2; ++h) {
            const __m256i pairs = _mm256_maddubs_epi16(low[h], a);
            isum[h][c] = g == 0 ? pairs : _mm256_add_epi16(isum[h][c], pairs);
            in_this_order(isum[h][c]);
          }
          for (std::size_t h = 0; h < 2; ++h) {
            isum[h][c] = _mm256_add_epi16(isum[h][c], _mm256_maddubs_epi16(high[h], b));
            in_this_order(isum[h][c]);
          }
        }
      }
      for (std::size_t h = 0; h < 2; ++h) {
        const __m256 d = load_f16(group + 256 + 16 * h).raw;
        const __m256 m = load_f16(group + 288 + 16 * h).raw;
        for (std::size_t c = 0; c < C; ++c) {
          const __m256 dot = _mm256_cvtepi32_ps(_mm256_madd_epi16(isum[h][c], ones));
          const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(x.d[c * x.blocks + block]));
          sums[h][c] = _mm256_fmadd_ps(scale, dot, sums[h][c]);
          sums[h][c] = _mm256_fmadd_ps(m, _mm256_set1_ps(x.s[c * x.blocks + block]), sums[h][c]);
        }
      }
    }
    for (std::size_t c = 0; c < C; ++c)
      for (std::size_t h = 0; h < 2; ++h) put(output, column + c, 8 * h, Floats{sums[h][c]});
  }
};

struct Q8_0Tile {
  static constexpr std::size_t kColumns = 4;
  static constexpr bool kQuantized = true;

  template <std::size_t C>
  static void run(const std::byte* group, const Activations& activations, std::size_t column,
                  const Output& output) {
    const QuantizedColumns x(activations, column);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 sums[2][C];
    for (std::size_t h = 0; h < 2; ++h)
      for (std::size_t c = 0; c < C; ++c) sums[h][c] = _mm256_setzero_ps();
    for (std::size_t block = 0; block < x.blocks; ++block) {
      const std::byte* scales = group + block / 2 * 1088 + block % 2 * 32;
      const std::byte* quants = group + block / 2 * 1088 + 64 + block % 2 * 512;
      __m256i isum[2][C];
      for (std::size_t g = 0; g < 8; ++g) {
        __m256i weights[2], magnitude[2];
        for (std::size_t h = 0; h < 2; ++h) {
          weights[h] = load_256(quants + 64 * g + 32 * h);
          magnitude[h] = _mm256_abs_epi8(weights[h]);
        }
        for (std::size_t c = 0; c < C; ++c) {
          // |w| * sign(a, w): a is never -128, and |pair| <= 2 * 128 * 127 fits 16 bits.
          const __m256i a = _mm256_set1_epi32(x.four(c, block, 4 * g));
          for (std::size_t h = 0; h < 2; ++h) {
            const __m256i pairs =
                _mm256_maddubs_epi16(magnitude[h], _mm256_sign_epi8(a, weights[h]));
            const __m256i fours = _mm256_madd_epi16(pairs, ones);
            isum[h][c] = g == 0 ? fours : _mm256_add_epi32(isum[h][c], fours);
            in_this_order(isum[h][c]);
          }
        }
      }
      for (std::size_t h = 0; h < 2; ++h) {
        const __m256 d = load_f16(scales + 16 * h).raw;
        for (std::size_t c = 0; c < C; ++c) {
          const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(x.d[c * x.blocks + block]));
          sums[h][c] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(isum[h][c]), sums[h][c]);
        }
      }
    }
    for (std::size_t c = 0; c < C; ++c)
      for (std::size_t h = 0; h < 2; ++h) put(output, column + c, 8 * h, Floats{sums[h][c]});
  }
};

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
