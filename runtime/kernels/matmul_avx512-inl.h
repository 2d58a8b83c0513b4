// Tiles of quantized weights on AVX-512 with VNNI: sixteen rows in a vector. dpbusd multiplies
// unsigned by signed bytes and adds four products into 32 bits, exactly. Formats: runtime/quant.

#if !defined(TROUPE_KERNELS_MATMUL_AVX512_INL_H_)
#define TROUPE_KERNELS_MATMUL_AVX512_INL_H_

#include <troupe/runtime/kernels/matmul_common-inl.h>

// Highway's AVX3 has no VNNI, and its AVX3_DL asks the compiler for AVX-VNNI, which CPUs with
// AVX-512 VNNI may lack: the extension is named here, and isa_supported asks the CPU for it.
#define TROUPE_VNNI __attribute__((target(HWY_TARGET_STR ",avx512vnni")))

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

HWY_INLINE __m512i load_512(const std::byte* from) { return _mm512_loadu_si512(from); }

struct Q4_1Tile {
  static constexpr std::size_t kColumns = 8;
  static constexpr bool kQuantized = true;

  template <std::size_t C>
  TROUPE_VNNI static void run(const std::byte* group, const Activations& activations,
                              std::size_t column, const Output& output) {
    const QuantizedColumns x(activations, column);
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512 sums[C];
    for (std::size_t c = 0; c < C; ++c) sums[c] = _mm512_setzero_ps();
    for (std::size_t block = 0; block < x.blocks; ++block, group += 320) {
      __m512i isum[C];
      for (std::size_t c = 0; c < C; ++c) isum[c] = _mm512_setzero_si512();
      for (std::size_t g = 0; g < 4; ++g) {
        const __m512i packed = load_512(group + 64 * g);
        const __m512i low = _mm512_and_si512(packed, nibble);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(packed, 4), nibble);
        for (std::size_t c = 0; c < C; ++c)
          isum[c] = _mm512_dpbusd_epi32(isum[c], low, _mm512_set1_epi32(x.four(c, block, 4 * g)));
        for (std::size_t c = 0; c < C; ++c)
          isum[c] =
              _mm512_dpbusd_epi32(isum[c], high, _mm512_set1_epi32(x.four(c, block, 16 + 4 * g)));
      }
      const __m512 d = load_f16(group + 256).raw, m = load_f16(group + 288).raw;
      for (std::size_t c = 0; c < C; ++c) {
        const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(x.d[c * x.blocks + block]));
        sums[c] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(isum[c]), sums[c]);
        sums[c] = _mm512_fmadd_ps(m, _mm512_set1_ps(x.s[c * x.blocks + block]), sums[c]);
      }
    }
    for (std::size_t c = 0; c < C; ++c) put(output, column + c, 0, Floats{sums[c]});
  }
};

struct Q8_0Tile {
  static constexpr std::size_t kColumns = 8;
  static constexpr bool kQuantized = true;
  static constexpr std::size_t kStep = 16;  // blocks whose corrections are made together

  // -128 times the integer sums of the activations of `count` <= kStep blocks. s is d times the
  // sum, rounded once, and the sum is under 2^12, so that s / d rounds to the very sum.
  static HWY_INLINE void corrections(const float* d, const float* s, std::size_t count,
                                     std::int32_t* out) {
    const __mmask16 present = static_cast<__mmask16>((1u << count) - 1);
    const __m512 scale = _mm512_maskz_loadu_ps(present, d);
    const __mmask16 nonzero = _mm512_cmp_ps_mask(scale, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    const __m512 sum = _mm512_maskz_div_ps(nonzero, _mm512_maskz_loadu_ps(present, s), scale);
    _mm512_store_si512(out, _mm512_mullo_epi32(_mm512_cvtps_epi32(sum), _mm512_set1_epi32(-128)));
  }

  template <std::size_t C>
  TROUPE_VNNI static void run(const std::byte* group, const Activations& activations,
                              std::size_t column, const Output& output) {
    const QuantizedColumns x(activations, column);
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    __m512 sums[C];
    for (std::size_t c = 0; c < C; ++c) sums[c] = _mm512_setzero_ps();
    alignas(64) std::int32_t correction[C][kStep];
    for (std::size_t block = 0; block < x.blocks; ++block) {
      if (block % kStep == 0)
        for (std::size_t c = 0; c < C; ++c) {
          const std::size_t left = x.blocks - block, at = c * x.blocks + block;
          corrections(x.d + at, x.s + at, left < kStep ? left : kStep, correction[c]);
        }
      const std::byte* scales = group + block / 2 * 1088 + block % 2 * 32;
      const std::byte* quants = group + block / 2 * 1088 + 64 + block % 2 * 512;
      __m512i isum[C];
      for (std::size_t c = 0; c < C; ++c) isum[c] = _mm512_set1_epi32(correction[c][block % kStep]);
      for (std::size_t g = 0; g < 8; ++g) {
        const __m512i weights = _mm512_xor_si512(load_512(quants + 64 * g), sign);  // w + 128
        for (std::size_t c = 0; c < C; ++c)
          isum[c] =
              _mm512_dpbusd_epi32(isum[c], weights, _mm512_set1_epi32(x.four(c, block, 4 * g)));
      }
      const __m512 d = load_f16(scales).raw;
      for (std::size_t c = 0; c < C; ++c) {
        const __m512 scale = _mm512_mul_ps(d, _mm512_set1_ps(x.d[c * x.blocks + block]));
        sums[c] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(isum[c]), sums[c]);
      }
    }
    for (std::size_t c = 0; c < C; ++c) put(output, column + c, 0, Floats{sums[c]});
  }
};

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
