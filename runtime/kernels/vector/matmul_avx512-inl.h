// Products of runs (quant/layout.h) on AVX-512 with VNNI: a vector of 32-bit lanes is sixteen rows.
// dpbusd multiplies unsigned by signed bytes and adds four products into 32 bits, exactly. The same
// functions as in matmul_avx2-inl.h.

#if !defined(TROUPE_KERNELS_MATMUL_AVX512_INL_H_)
#define TROUPE_KERNELS_MATMUL_AVX512_INL_H_

#include <troupe/runtime/kernels/vector/matmul_common-inl.h>

// Highway's AVX3 has no VNNI, and its AVX3_DL asks the compiler for AVX-VNNI, which CPUs with
// AVX-512 VNNI may lack: so the extension is named here, and isa_supported asks the CPU for it.
#define TROUPE_RUN_TARGET __attribute__((target(HWY_TARGET_STR ",avx512vnni")))

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

template <class Layout>
constexpr std::size_t kTileColumns = 8;

// dpbusd takes the signed bytes of eight bits as w + 128.
template <class Layout>
constexpr int kRunOffset = Layout::kMathBits == 8 ? 128 : 0;

// Eight columns share the work of unpacking integers, which is a tenth of a tile's work, so runs
// are not expanded.
template <class Layout>
constexpr std::size_t kExpandColumns = SIZE_MAX;

HWY_INLINE Ints pair_products(Ints a, Ints b) { return Ints{_mm512_madd_epi16(a.raw, b.raw)}; }

HWY_INLINE __m512i bytes_at(Ints bytes, std::int32_t first) {
  const __m512i places =
      _mm512_add_epi32(_mm512_set1_epi32(first),
                       _mm512_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404,
                                         0x08080808, 0x0c0c0c0c, 0, 0x04040404, 0x08080808,
                                         0x0c0c0c0c, 0, 0x04040404, 0x08080808, 0x0c0c0c0c));
  return _mm512_shuffle_epi8(bytes.raw, places);
}
HWY_INLINE Ints byte_pair(Ints bytes, std::size_t b0, std::size_t b1) {
  const auto first = static_cast<std::int32_t>(b0 * 0x0101 | b1 * 0x01010000);
  return Ints{_mm512_srai_epi16(bytes_at(bytes, first), 8)};
}
HWY_INLINE Ints byte_scale(Ints bytes, std::size_t b) {
  return Ints{_mm512_srai_epi32(bytes_at(bytes, static_cast<std::int32_t>(b * 0x01010101)), 24)};
}
HWY_INLINE Ints unit_scale() { return Ints{_mm512_set1_epi32(1)}; }

// Does the same as on AVX2. Without kScaled the sums begin in isum itself, so that dpbusd adds to
// them.
template <class Layout, bool kScaled, bool kExpanded, std::size_t C>
TROUPE_RUN_TARGET HWY_INLINE void add_run(const std::byte* run, const std::int8_t* a,
                                          std::size_t stride, const Ints (*scales)[kParts],
                                          Ints (&isum)[kParts][C], StreamPart ahead) {
  constexpr std::size_t kScaledPieces = 8 / kScales<Layout>;
  const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
  __m512i sums[C];
#pragma GCC unroll 8
  for (std::size_t p = 0; p < 8; ++p) {
    __m512i weights = integers_of<Layout, kExpanded>(run, p, 0).raw;
    ahead.piece(p);
    if (Layout::kMathBits == 8) weights = _mm512_xor_si512(weights, sign);  // w + 128
    for (std::size_t c = 0; c < C; ++c) {
      const __m512i four = _mm512_set1_epi32(load_four(a + c * stride + 4 * p));
      if (!kScaled) {
        isum[0][c].raw = _mm512_dpbusd_epi32(isum[0][c].raw, weights, four);
        continue;
      }
      const bool first = p % kScaledPieces == 0;
      sums[c] = _mm512_dpbusd_epi32(first ? _mm512_setzero_si512() : sums[c], weights, four);
      if (p % kScaledPieces == kScaledPieces - 1) {
        const __m512i scaled =
            _mm512_mullo_epi32(sums[c], scales[kScales<Layout> == 2 ? p / 4 : 0][0].raw);
        isum[0][c].raw = _mm512_add_epi32(isum[0][c].raw, scaled);
      }
    }
  }
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
