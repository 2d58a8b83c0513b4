// Tiles of quantized weights, the same code on every vector target; the products of a run are the
// target's own (add_run). Layouts: quant/layout.h; sequences of operations: quant/<format>.cpp.

#if defined(TROUPE_KERNELS_MATMUL_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TROUPE_KERNELS_MATMUL_TILES_INL_H_
#undef TROUPE_KERNELS_MATMUL_TILES_INL_H_
#else
#define TROUPE_KERNELS_MATMUL_TILES_INL_H_
#endif

#include <type_traits>

#include <troupe/runtime/kernels/vector/matmul_common-inl.h>
#if HWY_TARGET == HWY_AVX2
#include <troupe/runtime/kernels/vector/matmul_avx2-inl.h>
#else
#include <troupe/runtime/kernels/vector/matmul_avx512-inl.h>
#endif

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

// An expanded run is a run of eight bits (quant/layout.h).
constexpr std::size_t kExpandedBytes = 512;
template <class Layout>
HWY_INLINE void expand_run(const std::byte* run, std::byte* out) {
#pragma GCC unroll 8
  for (std::size_t p = 0; p < 8; ++p)
    for (std::size_t h = 0; h < kParts; ++h)
      hn::Store(run_piece<Layout>(run, p, h), kInt,
                reinterpret_cast<std::int32_t*>(out + 64 * p + 4 * kLanes * h));
}

// 2^(e - 128) of kLanes bytes e, as power_of_two in quant/packing.h.
HWY_INLINE Floats load_powers(const std::byte* from) {
  const hn::Rebind<std::uint8_t, IntTag> bytes;
  const Ints e = hn::PromoteTo(kInt, hn::LoadU(bytes, reinterpret_cast<const std::uint8_t*>(from)));
  const Ints small = hn::Set(kInt, 0x00200000), one = hn::Set(kInt, 1);
  const auto is_small = hn::Lt(e, hn::Set(kInt, 2));
  const Ints subnormal = hn::IfThenElse(hn::Eq(e, one), hn::Add(small, small), small);
  return hn::BitCast(kFloat,
                     hn::IfThenElse(is_small, subnormal, hn::ShiftLeft<23>(hn::Sub(e, one))));
}

// acc = fma(scale * d, f32(isum), acc) for both parts and all columns.
template <bool kByteD = false, std::size_t C>
HWY_INLINE void add_scaled(const std::byte* scales, const float (&d)[C],
                           const Ints (&isum)[kParts][C], Floats (&sums)[kParts][C]) {
  for (std::size_t h = 0; h < kParts; ++h) {
    const Floats scale =
        kByteD ? load_powers(scales + kLanes * h) : load_f16(scales + 2 * kLanes * h);
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

// Blocks [begin, end) of a group, and the expanded runs from block `begin` on, if there are any.
struct BlockRange {
  const std::byte* group;
  std::size_t begin, end;
  const std::byte* expanded;
  Stream stream = {};  // memory to prefetch, a part beside each block

  template <class Layout, bool kExpanded>
  HWY_INLINE const std::byte* run(std::size_t block, std::size_t run) const {
    return kExpanded ? expanded + kExpandedBytes * ((block - begin) * Layout::kRuns + run)
                     : group + Layout::run_at(block, run);
  }
};

// Blocks of 32.
template <class Layout_>
struct BlockSums {
  using Layout = Layout_;
  static constexpr std::size_t kStep = 16;  // blocks whose corrections are made together
  static constexpr int kOffset = Layout::kOffset + kRunOffset<Layout>;

  // Computes -kOffset times the sums of the activations of `count` <= kStep blocks.
  static HWY_INLINE void corrections(const std::int32_t* sums, std::size_t count,
                                     std::int32_t* out) {
    if (count == kStep) {
      for (std::size_t i = 0; i < kStep; i += kLanes)
        hn::Store(hn::Mul(hn::LoadU(kInt, sums + i), hn::Set(kInt, -kOffset)), kInt, out + i);
    } else {
      for (std::size_t i = 0; i < count; ++i) out[i] = -kOffset * sums[i];
    }
  }

  // Adds the products with columns [column, column + C) of the activations to sums, block by block.
  template <bool kExpanded, std::size_t C>
  TROUPE_RUN_TARGET static HWY_INLINE void add(const BlockRange& range,
                                               const Activations& activations, std::size_t column,
                                               Floats (&sums)[kParts][C]) {
    const QuantizedRows x = activations.quantized.from(column * activations.columns);
    const std::size_t columns = activations.columns, blocks = columns / kBlock;
    const Stream stream = range.stream;
    Ints scales[1][kParts];
    for (std::size_t h = 0; h < kParts; ++h) scales[0][h] = unit_scale();
    alignas(64) std::int32_t correction[C][kStep];
    for (std::size_t block = range.begin; block < range.end; ++block) {
      const std::size_t step = (block - range.begin) % kStep;
      if (kOffset != 0 && step == 0)
        for (std::size_t c = 0; c < C; ++c) {
          const std::size_t left = range.end - block;
          corrections(x.sum + c * blocks + block, left < kStep ? left : kStep, correction[c]);
        }
      Ints isum[kParts][C];
      for (std::size_t h = 0; h < kParts; ++h)
        for (std::size_t c = 0; c < C; ++c)
          isum[h][c] = kOffset == 0 ? hn::Zero(kInt) : hn::Set(kInt, correction[c][step]);
      add_run<Layout, false, kExpanded>(range.run<Layout, kExpanded>(block, 0),
                                        x.q + block * kBlock, columns, scales, isum,
                                        kExpanded ? StreamPart{} : stream.part(block));
      float d[C];
      for (std::size_t c = 0; c < C; ++c) d[c] = x.d[c * blocks + block];
      add_scaled<Layout::kByteD>(range.group + Layout::d_at(block), d, isum, sums);
      if (!Layout::kHasM) continue;
      for (std::size_t h = 0; h < kParts; ++h) {
        const Floats m = load_f16(range.group + Layout::m_at(block) + 2 * kLanes * h);
        for (std::size_t c = 0; c < C; ++c)
          sums[h][c] = hn::MulAdd(m, hn::Set(kFloat, x.s[c * blocks + block]), sums[h][c]);
      }
    }
  }
};

// The scales of a superblock as the lanes that they multiply, for a group's rows in `kParts` parts.
template <class Layout>
struct SuperScales {
  static constexpr std::size_t kPairs = kSuperblock / (2 * kSumElements);
  static constexpr std::size_t kRunScales = kScales<Layout>;
  Ints scales[kRunScales * Layout::kRuns][kParts];
  Ints pairs[kPairs][kParts];  // the factors of the sums of activations, two in a lane

  // Does what read_scales in quant/packing.cpp does, four bytes at a time: byte j % 4 of word j / 4
  // is of sub-block j.
  static HWY_INLINE void read_half_scales(const Ints (&word)[Layout::kScaleWords], Ints (&scale)[4],
                                          Ints (&multiplied)[4]) {
    const Ints low = hn::Set(kInt, 0x0f0f0f0f), two = hn::Set(kInt, 0x03030303);
    for (std::size_t i = 0; i < 4; ++i) {
      if constexpr (Layout::kScales == quant::Scales::kSixLess32) {
        const hn::Repartition<std::int8_t, IntTag> bytes;
        const Ints nibbles = hn::And(i < 2 ? word[i] : hn::ShiftRight<4>(word[i - 2]), low);
        const Ints high = hn::And(hn::ShiftRightSame(word[2], static_cast<int>(2 * i)), two);
        const Ints six = hn::Or(nibbles, hn::ShiftLeft<4>(high));
        scale[i] = hn::BitCast(kInt, hn::Sub(hn::BitCast(bytes, six), hn::Set(bytes, 32)));
      } else if constexpr (Layout::kScales == quant::Scales::kNibbles) {
        scale[i] = hn::And(word[i], low);
      } else {
        scale[i] = word[i];
      }
      multiplied[i] = scale[i];
      if constexpr (Layout::kHasM) multiplied[i] = hn::And(hn::ShiftRight<4>(word[i]), low);
    }
  }

  // `words` holds the scale bytes, four in a lane.
  explicit HWY_INLINE SuperScales(const std::byte* words) {
    for (std::size_t h = 0; h < kParts; ++h) {
      Ints word[Layout::kScaleWords];
      for (std::size_t i = 0; i < Layout::kScaleWords; ++i)
        word[i] = load_ints(words + 64 * i + 4 * kLanes * h);
      if constexpr (Layout::kHalfScales) {
        Ints four[4],
            multiplied[4];  // scales of products, and factors of sums: the scales again or offsets
        read_half_scales(word, four, multiplied);
#pragma GCC unroll 8
        for (std::size_t i = 0; i < kPairs; ++i) {
          scales[2 * i][h] = byte_scale(four[i / 2], i % 2 * 2);
          scales[2 * i + 1][h] = byte_scale(four[i / 2], i % 2 * 2 + 1);
          pairs[i][h] = byte_pair(multiplied[i / 2], i % 2 * 2, i % 2 * 2 + 1);
        }
      } else if constexpr (Layout::kScales == quant::Scales::kRunBytes) {
#pragma GCC unroll 8
        for (std::size_t i = 0; i < kPairs; ++i) {
          scales[i][h] = byte_scale(word[i / 4], i % 4);
          pairs[i][h] = byte_pair(word[i / 4], i % 4, i % 4);
        }
      } else {  // as read_six_bit_scales in quant/packing.cpp, four bytes at a time
        const Ints six = hn::Set(kInt, 0x3f3f3f3f), four = hn::Set(kInt, 0x0f0f0f0f);
        const Ints high = hn::Set(kInt, 0x30303030);
        const Ints low_scales = hn::And(word[0], six), low_offsets = hn::And(word[1], six);
        const Ints high_scales =
            hn::Or(hn::And(word[2], four), hn::And(hn::ShiftRight<2>(word[0]), high));
        const Ints high_offsets = hn::Or(hn::And(hn::ShiftRight<4>(word[2]), four),
                                         hn::And(hn::ShiftRight<2>(word[1]), high));
#pragma GCC unroll 8
        for (std::size_t i = 0; i < kPairs; ++i) {
          scales[i][h] = byte_scale(i < 4 ? low_scales : high_scales, i % 4);
          pairs[i][h] = byte_pair(i < 4 ? low_offsets : high_offsets, i % 4, i % 4);
        }
      }
    }
  }
};

// Superblocks of 256.
template <class Layout_>
struct SuperblockSums {
  using Layout = Layout_;
  using Scales = SuperScales<Layout>;
  static constexpr int kOffset = Layout::kOffset + kRunOffset<Layout>;

  // total[part][c] = the sum over sub-blocks of a scale or offset times the sum of activations.
  template <std::size_t C>
  static HWY_INLINE void add_sums(const Scales& scales, const std::int16_t* sums,
                                  std::size_t stride, Ints (&total)[kParts][C]) {
    clear(total);
    for (std::size_t i = 0; i < Scales::kPairs; ++i)
      for (std::size_t c = 0; c < C; ++c) {
        const Ints two = hn::Set(kInt, load_four(sums + c * stride + 2 * i));
        for (std::size_t h = 0; h < kParts; ++h)
          total[h][c] = hn::Add(total[h][c], pair_products(scales.pairs[i][h], two));
      }
  }

  template <bool kExpanded, std::size_t C>
  TROUPE_RUN_TARGET static HWY_INLINE void add(const BlockRange& range,
                                               const Activations& activations, std::size_t column,
                                               Floats (&sums)[kParts][C]) {
    const QuantizedRows x = activations.quantized.from(column * activations.columns);
    const std::size_t columns = activations.columns, blocks = columns / kSuperblock;
    const Stream stream = range.stream;
    for (std::size_t block = range.begin; block < range.end; ++block) {
      const Scales scales(range.group + Layout::scales_at(block));
      float d[C];
      for (std::size_t c = 0; c < C; ++c) d[c] = x.super_d[c * blocks + block];
      Ints total[kParts][C], isum[kParts][C];
      if constexpr (kOffset != 0 || Layout::kHasM)
        add_sums(scales, x.super_sums + block * (kSuperblock / kSumElements),
                 columns / kSumElements, total);
      for (std::size_t h = 0; h < kParts; ++h)
        for (std::size_t c = 0; c < C; ++c)
          isum[h][c] =
              kOffset == 0 ? hn::Zero(kInt) : hn::Mul(total[h][c], hn::Set(kInt, -kOffset));
      for (std::size_t run = 0; run < Layout::kRuns; ++run) {
        add_run<Layout, true, kExpanded>(
            range.run<Layout, kExpanded>(block, run),
            x.super_q + block * kSuperblock + run * kBlock, columns,
            scales.scales + run * Scales::kRunScales, isum,
            kExpanded ? StreamPart{} : stream.part(block * Layout::kRuns + run));
      }
      add_scaled(range.group + Layout::d_at(block), d, isum, sums);
      if (!Layout::kHasM) continue;
      for (std::size_t c = 0; c < C; ++c) d[c] = -d[c];
      add_scaled(range.group + Layout::m_at(block), d, total, sums);
    }
  }
};

// A tile over all blocks of a group. Sums: BlockSums or SuperblockSums.
template <class Sums>
struct IntegerTile {
  static constexpr std::size_t kGroups = 1;
  static constexpr std::size_t kColumns = kTileColumns<typename Sums::Layout>;
  static constexpr std::size_t kElementBytes = 1;
  static constexpr bool kFetchesInFront = true;
  const PackedMatrix& w;
  const std::byte* group;
  const Activations& x;
  Output output;

  template <std::size_t C>
  TROUPE_RUN_TARGET void run(std::size_t column, Stream stream) const {
    Floats sums[kParts][C];
    clear(sums);
    const std::size_t blocks = x.columns / Sums::Layout::kElements;
    stream.cut(blocks * Sums::Layout::kRuns);
    Sums::template add<false>({group, 0, blocks, nullptr, stream}, x, column, sums);
    put_all(output, column, sums);
  }
};

// A tile over a range of blocks whose runs are expanded; the sums so far lie in memory, 16 a
// column.
template <class Sums>
struct ExpandedTile {
  static constexpr std::size_t kColumns = kTileColumns<typename Sums::Layout>;
  BlockRange range;
  const Activations& x;
  float* column_sums;

  template <std::size_t C>
  TROUPE_RUN_TARGET void run(std::size_t column, Stream) const {
    Floats sums[kParts][C];
    float* at = column_sums + column * kGroupRows;
    for (std::size_t i = 0; i < kParts * C; ++i)
      sums[i % kParts][i / kParts] = hn::Load(kFloat, at + i * kLanes);
    Sums::template add<true>(range, x, column, sums);
    for (std::size_t i = 0; i < kParts * C; ++i)
      hn::Store(sums[i % kParts][i / kParts], kFloat, at + i * kLanes);
  }
};

// Multiplies many columns: each group is expanded piece by piece, and a piece is multiplied with
// all columns of a pass. An output's chain is the same.
template <class Sums>
void run_expanded(const PackedMatrix& w, const Activations& all, std::size_t group_begin,
                  std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  using Layout = typename Sums::Layout;
  using Tile = ExpandedTile<Sums>;
  constexpr std::size_t kPass = 48;  // columns whose sums lie in the first-level cache
  constexpr std::size_t kRuns = Layout::kRuns == 1 ? 16 : Layout::kRuns;
  alignas(64) std::byte expanded[kRuns * kExpandedBytes];
  alignas(64) float sums[kPass * kGroupRows];
  const std::size_t blocks = w.columns / Layout::kElements, piece = kRuns / Layout::kRuns;
  for (std::size_t first = 0; first < all.rows; first += kPass) {
    const Activations x = all.from_row(first);
    const std::size_t columns = x.rows < kPass ? x.rows : kPass;
    for (std::size_t group = group_begin; group < group_end; ++group) {
      const std::byte* packed = w.data.data() + group * w.group_bytes;
      std::memset(sums, 0, sizeof sums);
      for (std::size_t begin = 0; begin < blocks; begin += piece) {
        const BlockRange range{packed, begin, blocks - begin < piece ? blocks : begin + piece,
                               expanded};
        for (std::size_t i = 0; i < (range.end - begin) * Layout::kRuns; ++i)
          expand_run<Layout>(packed + Layout::run_at(begin + i / Layout::kRuns, i % Layout::kRuns),
                             expanded + i * kExpandedBytes);
        const Tile tile{range, x, sums};
        for (std::size_t column = 0; column < columns;)
          column += run_columns(tile, columns - column, column, {});
      }
      const Output output =
          output_of(w, group, 1, out + first * out_stride, out_stride, accumulate);
      for (std::size_t i = 0; i < columns * kParts; ++i)
        put(output, i / kParts, i % kParts * kLanes, hn::Load(kFloat, sums + i * kLanes));
    }
  }
}

// Multiplies weights of this layout, which is one of quant/layout.h.
template <class Layout>
void integer_matmul(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
                    std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  using Sums = std::conditional_t<Layout::kRuns == 1, BlockSums<Layout>, SuperblockSums<Layout>>;
  if (x.rows >= kExpandColumns<Layout>) {
    run_expanded<Sums>(w, x, group_begin, group_end, out, out_stride, accumulate);
  } else {
    run_tiles<IntegerTile<Sums>>(w, x, group_begin, group_end, out, out_stride, accumulate);
  }
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
