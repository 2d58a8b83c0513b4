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

// Eight or sixteen rows at a time: with many columns eight (accumulators stay in registers), with
// one or two sixteen (the activations are broadcast once).
struct Q4_1Tile {
  static constexpr std::size_t kColumns = 4;
  static constexpr bool kQuantized = true;

  template <std::size_t C, std::size_t kHalves>
  static HWY_INLINE void rows(const std::byte* group, const QuantizedColumns& x, std::size_t half,
                              std::size_t column, const Output& output) {
    const __m256i nibble = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256 sums[kHalves][C];
    for (std::size_t h = 0; h < kHalves; ++h)
      for (std::size_t c = 0; c < C; ++c) sums[h][c] = _mm256_setzero_ps();
    for (std::size_t block = 0; block < x.blocks; ++block, group += 320) {
      for (std::size_t h = 0; h < kHalves; ++h) {
        __m256i isum[C];
        for (std::size_t g = 0; g < 4; ++g) {
          const __m256i packed = load_256(group + 64 * g + 32 * (half + h));
          const __m256i low = _mm256_and_si256(packed, nibble);
          const __m256i high = _mm256_and_si256(_mm256_srli_epi16(packed, 4), nibble);
          for (std::size_t c = 0; c < C; ++c) {
            // |pair| <= 2 * 15 * 127 = 3810, eight of them stay under 2^15.
            const __m256i a = _mm256_maddubs_epi16(low, _mm256_set1_epi32(x.four(c, block, 4 * g)));
            const __m256i b =
                _mm256_maddubs_epi16(high, _mm256_set1_epi32(x.four(c, block, 16 + 4 * g)));
            isum[c] = g == 0 ? a : _mm256_add_epi16(isum[c], a);
            isum[c] = _mm256_add_epi16(isum[c], b);
          }
        }
        const __m256 d = load_f16(group + 256 + 16 * (half + h)).raw;
        const __m256 m = load_f16(group + 288 + 16 * (half + h)).raw;
        for (std::size_t c = 0; c < C; ++c) {
          const __m256 dot = _mm256_cvtepi32_ps(_mm256_madd_epi16(isum[c], ones));
          const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(x.d[c * x.blocks + block]));
          sums[h][c] = _mm256_fmadd_ps(scale, dot, sums[h][c]);
          sums[h][c] = _mm256_fmadd_ps(m, _mm256_set1_ps(x.s[c * x.blocks + block]), sums[h][c]);
        }
      }
    }
    for (std::size_t h = 0; h < kHalves; ++h)
      for (std::size_t c = 0; c < C; ++c)
        put(output, column + c, 8 * (half + h), Floats{sums[h][c]});
  }

  template <std::size_t C>
  static void run(const std::byte* group, const Activations& x, std::size_t column,
                  const Output& output) {
    const QuantizedColumns columns(x, column);
    if constexpr (C <= 2) {
      rows<C, 2>(group, columns, 0, column, output);
    } else {
      rows<C, 1>(group, columns, 0, column, output);
      rows<C, 1>(group, columns, 1, column, output);
    }
  }
};

struct Q8_0Tile {
  static constexpr std::size_t kColumns = 4;
  static constexpr bool kQuantized = true;

  template <std::size_t C, std::size_t kHalves>
  static HWY_INLINE void rows(const std::byte* group, const QuantizedColumns& x, std::size_t half,
                              std::size_t column, const Output& output) {
    const __m256i ones = _mm256_set1_epi16(1);
    __m256 sums[kHalves][C];
    for (std::size_t h = 0; h < kHalves; ++h)
      for (std::size_t c = 0; c < C; ++c) sums[h][c] = _mm256_setzero_ps();
    const std::byte* scales = group + 512 * x.blocks;
    for (std::size_t block = 0; block < x.blocks; ++block, group += 512, scales += 32) {
      for (std::size_t h = 0; h < kHalves; ++h) {
        __m256i isum[C];
        for (std::size_t g = 0; g < 8; ++g) {
          const __m256i weights = load_256(group + 64 * g + 32 * (half + h));
          const __m256i magnitude = _mm256_abs_epi8(weights);
          for (std::size_t c = 0; c < C; ++c) {
            // |w| * sign(a, w): a is never -128, and |pair| <= 2 * 128 * 127 fits 16 bits.
            const __m256i value =
                _mm256_sign_epi8(_mm256_set1_epi32(x.four(c, block, 4 * g)), weights);
            const __m256i pairs = _mm256_maddubs_epi16(magnitude, value);
            const __m256i dot = _mm256_madd_epi16(pairs, ones);
            isum[c] = g == 0 ? dot : _mm256_add_epi32(isum[c], dot);
          }
        }
        const __m256 d = load_f16(scales + 16 * (half + h)).raw;
        for (std::size_t c = 0; c < C; ++c) {
          const __m256 scale = _mm256_mul_ps(d, _mm256_set1_ps(x.d[c * x.blocks + block]));
          sums[h][c] = _mm256_fmadd_ps(scale, _mm256_cvtepi32_ps(isum[c]), sums[h][c]);
        }
      }
    }
    for (std::size_t h = 0; h < kHalves; ++h)
      for (std::size_t c = 0; c < C; ++c)
        put(output, column + c, 8 * (half + h), Floats{sums[h][c]});
  }

  template <std::size_t C>
  static void run(const std::byte* group, const Activations& x, std::size_t column,
                  const Output& output) {
    const QuantizedColumns columns(x, column);
    if constexpr (C <= 2) {
      rows<C, 2>(group, columns, 0, column, output);
    } else {
      rows<C, 1>(group, columns, 0, column, output);
      rows<C, 1>(group, columns, 1, column, output);
    }
  }
};

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
