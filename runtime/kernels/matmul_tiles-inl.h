// Tiles of quantized weights, the same code on every vector target; the products of a run are the
// target's own (add_run). Layouts: quant/layout.h; sequences of operations: quant/<format>.cpp.

#if defined(TROUPE_KERNELS_MATMUL_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TROUPE_KERNELS_MATMUL_TILES_INL_H_
#undef TROUPE_KERNELS_MATMUL_TILES_INL_H_
#else
#define TROUPE_KERNELS_MATMUL_TILES_INL_H_
#endif

#include <troupe/runtime/kernels/matmul_common-inl.h>
#if HWY_TARGET == HWY_AVX2
#include <troupe/runtime/kernels/matmul_avx2-inl.h>
#else
#include <troupe/runtime/kernels/matmul_avx512-inl.h>
#endif

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

// acc = fma(scale * d, f32(isum), acc) for both parts and all columns.
template <std::size_t C>
HWY_INLINE void add_scaled(const std::byte* scales, const float (&d)[C],
                           const Ints (&isum)[kParts][C], Floats (&sums)[kParts][C]) {
  for (std::size_t h = 0; h < kParts; ++h) {
    const Floats scale = load_f16(scales + 2 * kLanes * h);
    for (std::size_t c = 0; c < C; ++c)
      sums[h][c] = hn::MulAdd(hn::Mul(scale, hn::Set(kFloat, d[c])),
                              hn::ConvertTo(kFloat, isum[h][c]), sums[h][c]);
  }
}

template <std::size_t C>
HWY_INLINE void put_all(const Output& output, std::size_t column, const Floats (&sums)[kParts][C]) {
  for (std::size_t c = 0; c < C; ++c)
    for (std::size_t h = 0; h < kParts; ++h) put(output, column + c, kLanes * h, sums[h][c]);
}

template <std::size_t C>
HWY_INLINE void clear(Floats (&sums)[kParts][C]) {
  for (std::size_t h = 0; h < kParts; ++h)
    for (std::size_t c = 0; c < C; ++c) sums[h][c] = hn::Zero(kFloat);
}
template <std::size_t C>
HWY_INLINE void clear(Ints (&sums)[kParts][C]) {
  for (std::size_t h = 0; h < kParts; ++h)
    for (std::size_t c = 0; c < C; ++c) sums[h][c] = hn::Zero(kInt);
}

// Blocks of 32.
template <class Layout>
struct BlockTile {
  static constexpr std::size_t kColumns = kTileColumns<Layout::kBits>;
  static constexpr std::size_t kElementBytes = 1;
  static constexpr std::size_t kStep = 16;  // blocks whose corrections are made together
  static constexpr int kOffset = Layout::kOffset + kRunOffset<Layout::kBits>;

  // -kOffset times the sums of the activations of `count` <= kStep blocks.
  static HWY_INLINE void corrections(const std::int32_t* sums, std::size_t count,
                                     std::int32_t* out) {
    if (count == kStep) {
      for (std::size_t i = 0; i < kStep; i += kLanes)
        hn::Store(hn::Mul(hn::LoadU(kInt, sums + i), hn::Set(kInt, -kOffset)), kInt, out + i);
    } else {
      for (std::size_t i = 0; i < count; ++i) out[i] = -kOffset * sums[i];
    }
  }

  template <std::size_t C>
  TROUPE_RUN_TARGET static void run(const std::byte* group, const Activations& activations,
                                    std::size_t column, const Output& output) {
    const QuantizedRows x = activations.quantized.from(column * activations.columns);
    const std::size_t columns = activations.columns, blocks = columns / kBlock;
    const Ints unit = unit_scale();
    Ints scales[2][kParts];
    for (std::size_t h = 0; h < kParts; ++h) scales[0][h] = scales[1][h] = unit;
    Floats sums[kParts][C];
    clear(sums);
    alignas(64) std::int32_t correction[C][kStep];
    for (std::size_t block = 0; block < blocks; ++block) {
      if (kOffset != 0 && block % kStep == 0)
        for (std::size_t c = 0; c < C; ++c) {
          const std::size_t left = blocks - block;
          corrections(x.sum + c * blocks + block, left < kStep ? left : kStep, correction[c]);
        }
      Ints isum[kParts][C];
      for (std::size_t h = 0; h < kParts; ++h)
        for (std::size_t c = 0; c < C; ++c)
          isum[h][c] = kOffset == 0 ? hn::Zero(kInt) : hn::Set(kInt, correction[c][block % kStep]);
      add_run<Layout::kBits, false>(group + Layout::run_at(block, 0), x.q + block * kBlock, columns,
                                    scales, isum);
      float d[C];
      for (std::size_t c = 0; c < C; ++c) d[c] = x.d[c * blocks + block];
      add_scaled(group + Layout::d_at(block), d, isum, sums);
      if (!Layout::kHasM) continue;
      for (std::size_t h = 0; h < kParts; ++h) {
        const Floats m = load_f16(group + Layout::m_at(block) + 2 * kLanes * h);
        for (std::size_t c = 0; c < C; ++c)
          sums[h][c] = hn::MulAdd(m, hn::Set(kFloat, x.s[c * blocks + block]), sums[h][c]);
      }
    }
    put_all(output, column, sums);
  }
};

// The scale bytes of a superblock, four sub-blocks in a lane.
struct SuperScales {
  Ints scales[4][kParts];   // Q4_K, Q5_K: [2], a byte for each sub-block of 32; Q6_K: [4], of 16
  Ints offsets[2][kParts];  // Q4_K, Q5_K
};
template <std::size_t kWords>
HWY_INLINE void load_scales(const std::byte* words, SuperScales* out) {
  for (std::size_t h = 0; h < kParts; ++h) {
    Ints word[kWords];
    for (std::size_t i = 0; i < kWords; ++i) word[i] = load_ints(words + 64 * i + 4 * kLanes * h);
    if constexpr (kWords == 4) {
      for (std::size_t i = 0; i < kWords; ++i) out->scales[i][h] = word[i];
    } else {  // as read_six_bit_scales in quant/packing.cpp, four bytes at a time
      const Ints six = hn::Set(kInt, 0x3f3f3f3f), four = hn::Set(kInt, 0x0f0f0f0f);
      const Ints high = hn::Set(kInt, 0x30303030);
      out->scales[0][h] = hn::And(word[0], six);
      out->offsets[0][h] = hn::And(word[1], six);
      out->scales[1][h] = hn::Or(hn::And(word[2], four), hn::And(hn::ShiftRight<2>(word[0]), high));
      out->offsets[1][h] = hn::Or(hn::And(hn::ShiftRight<4>(word[2]), four),
                                  hn::And(hn::ShiftRight<2>(word[1]), high));
    }
  }
}

// Superblocks of 256.
template <class Layout>
struct SuperblockTile {
  static constexpr std::size_t kColumns = kTileColumns<Layout::kBits>;
  static constexpr std::size_t kElementBytes = 1;
  static constexpr std::size_t kPairs = kSuperblock / (2 * kSumElements);

  // total[part][c] = the sum over sub-blocks of a scale or offset times the sum of activations.
  template <std::size_t C>
  static HWY_INLINE void add_sums(const SuperScales& scales, const std::int16_t* sums,
                                  std::size_t stride, Ints (&total)[kParts][C]) {
    clear(total);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kPairs; ++i)
      for (std::size_t h = 0; h < kParts; ++h) {
        const Ints pair = Layout::kHasM
                              ? byte_pair(scales.offsets[i / 4][h], i % 4, i % 4)
                              : byte_pair(scales.scales[i / 2][h], i % 2 * 2, i % 2 * 2 + 1);
        for (std::size_t c = 0; c < C; ++c) {
          const Ints two = hn::Set(kInt, load_four(sums + c * stride + 2 * i));
          total[h][c] = hn::Add(total[h][c], pair_products(pair, two));
        }
      }
  }

  template <std::size_t C>
  TROUPE_RUN_TARGET static void run(const std::byte* group, const Activations& activations,
                                    std::size_t column, const Output& output) {
    const QuantizedRows x = activations.quantized.from(column * activations.columns);
    const std::size_t columns = activations.columns, blocks = columns / kSuperblock;
    Floats sums[kParts][C];
    clear(sums);
    for (std::size_t block = 0; block < blocks; ++block) {
      SuperScales scales;
      load_scales<Layout::kScaleWords>(group + Layout::scales_at(block), &scales);
      float d[C];
      for (std::size_t c = 0; c < C; ++c) d[c] = x.super_d[c * blocks + block];
      Ints total[kParts][C], isum[kParts][C];
      add_sums(scales, x.super_sums + block * (kSuperblock / kSumElements), columns / kSumElements,
               total);
      for (std::size_t h = 0; h < kParts; ++h)
        for (std::size_t c = 0; c < C; ++c)
          isum[h][c] = Layout::kOffset == 0 ? hn::Zero(kInt)
                                            : hn::Mul(total[h][c], hn::Set(kInt, -Layout::kOffset));
      for (std::size_t run = 0; run < Layout::kRuns; ++run) {
        Ints run_scales[2][kParts];
        for (std::size_t h = 0; h < kParts; ++h)
          for (std::size_t half = 0; half < 2; ++half)
            run_scales[half][h] = Layout::kHasM
                                      ? byte_scale(scales.scales[run / 4][h], run % 4)
                                      : byte_scale(scales.scales[run / 2][h], run % 2 * 2 + half);
        add_run<Layout::kBits, true>(group + Layout::run_at(block, run),
                                     x.super_q + block * kSuperblock + run * kBlock, columns,
                                     run_scales, isum);
      }
      add_scaled(group + Layout::d_at(block), d, isum, sums);
      if (!Layout::kHasM) continue;
      for (std::size_t c = 0; c < C; ++c) d[c] = -d[c];
      add_scaled(group + Layout::m_at(block), d, total, sums);
    }
    put_all(output, column, sums);
  }
};

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
