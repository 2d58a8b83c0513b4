// Tiles of F32, F16 and BF16 weights: one FMA a weight, in k order, in chunks of kSumColumns whose
// sums are added in order. Re-included for each target.

#if defined(TROUPE_KERNELS_MATMUL_FLOAT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TROUPE_KERNELS_MATMUL_FLOAT_INL_H_
#undef TROUPE_KERNELS_MATMUL_FLOAT_INL_H_
#else
#define TROUPE_KERNELS_MATMUL_FLOAT_INL_H_
#endif

#include <troupe/runtime/kernels/vector/matmul_common-inl.h>

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

// Columns times groups that lie side by side in a tile: as many chains as the registers hold, and
// more than the latency of an FMA times the FMAs per cycle, because a chain waits for its last FMA.
template <std::size_t kGroups>
constexpr std::size_t kFloatColumns = HWY_TARGET == HWY_AVX2 ? (kGroups == 1 ? 6 : 4 / kGroups)
                                                             : (kGroups <= 2 ? 12 : 16 / kGroups);

// How far ahead the next weights are fetched in each of the groups that lie side by side.
constexpr std::size_t kGroupAhead = 2048;

template <quant::Type kType, std::size_t kTileGroups>
struct FloatTile {
  static constexpr std::size_t kGroups = kTileGroups;
  static constexpr std::size_t kColumns = kFloatColumns<kGroups>;
  static constexpr std::size_t kElementBytes = sizeof(float);
  static constexpr bool kFetchesInFront = false;
  static constexpr std::size_t kVectors = kGroups * kParts;
  static constexpr std::size_t kLine = 64 / (kGroupRows * kWeightBytes<kType>);  // in k
  static_assert(kSumColumns % kLine == 0);

  const PackedMatrix& w;
  const std::byte* group;
  const Activations& x;
  Output output;

  template <std::size_t C>
  void run(std::size_t column, Stream stream) const {
    if (!stream.alone) stream.cut((x.columns + kLine - 1) / kLine);
    // The sums of the chunks so far. They are not in `output`, which may hold a bias or a residual.
    alignas(64) float totals[kVectors][C][kLanes];
    for (std::size_t begin = 0;;) {
      const bool last = x.columns - begin <= kSumColumns;
      const std::size_t end = last ? x.columns : begin + kSumColumns;
      Floats sums[kVectors][C];
      add_chunk<C>(column, begin, end, stream, sums);
      if (begin != 0)  // the first chunk's sum is the total, so that few columns are one chain
        for (std::size_t v = 0; v < kVectors; ++v)
          for (std::size_t c = 0; c < C; ++c)
            sums[v][c] = hn::Add(hn::Load(kFloat, totals[v][c]), sums[v][c]);
      if (last) {
        for (std::size_t c = 0; c < C; ++c)
          for (std::size_t v = 0; v < kVectors; ++v)
            put(output, column + c, v * kLanes, sums[v][c]);
        return;
      }
      for (std::size_t v = 0; v < kVectors; ++v)
        for (std::size_t c = 0; c < C; ++c) hn::Store(sums[v][c], kFloat, totals[v][c]);
      begin = end;
    }
  }

 private:
  // sums = the products of k in [begin, end), from 0 and in k order; begin is a multiple of kLine.
  template <std::size_t C>
  HWY_INLINE void add_chunk(std::size_t column, std::size_t begin, std::size_t end,
                            const Stream& stream, Floats (&sums)[kVectors][C]) const {
    for (std::size_t v = 0; v < kVectors; ++v)
      for (std::size_t c = 0; c < C; ++c) sums[v][c] = hn::Zero(kFloat);
    const float* in = x.x + column * x.columns;
    const std::byte* at = group + begin * kGroupRows * kWeightBytes<kType>;
    for (std::size_t k = begin; k < end; ++k, at += kGroupRows * kWeightBytes<kType>) {
      if (k % kLine == 0) {
        if (stream.alone) {  // each group is a stream of its own
          for (std::size_t g = 0; g < kGroups; ++g)
            prefetch_second_level(at + g * w.group_bytes + kGroupAhead);
        } else {
          stream.fetch(k / kLine);
        }
      }
      Floats weights[kVectors];
      for (std::size_t v = 0; v < kVectors; ++v)
        weights[v] = load_weights<kType>(at + v / kParts * w.group_bytes +
                                         v % kParts * kLanes * kWeightBytes<kType>);
      for (std::size_t c = 0; c < C; ++c) {
        const Floats value = hn::Set(kFloat, in[c * x.columns + k]);
        for (std::size_t v = 0; v < kVectors; ++v)
          sums[v][c] = hn::MulAdd(weights[v], value, sums[v][c]);
      }
    }
  }
};

// Takes as many groups at once as suit the number of columns, then the rest one by one.
template <quant::Type kType, std::size_t kGroups>
void float_tiles(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
                 std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  const std::size_t rest = group_end - (group_end - group_begin) % kGroups;
  run_tiles<FloatTile<kType, kGroups>>(w, x, group_begin, rest, out, out_stride, accumulate);
  if (kGroups > 1)
    run_tiles<FloatTile<kType, 1>>(w, x, rest, group_end, out, out_stride, accumulate);
}

template <quant::Type kType>
void float_matmul(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
                  std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  constexpr bool kNarrow = HWY_TARGET == HWY_AVX2;
  constexpr std::size_t kOne = kNarrow ? 4 : 8, kTwo = kNarrow ? 2 : 8;
  constexpr std::size_t kFour = kNarrow ? 1 : 4, kMany = kNarrow ? 1 : 2;
  const auto run = [&]<std::size_t kGroups>() {
    float_tiles<kType, kGroups>(w, x, group_begin, group_end, out, out_stride, accumulate);
  };
  if (x.rows == 1) return run.template operator()<kOne>();
  if (x.rows == 2) return run.template operator()<kTwo>();
  if (x.rows <= 4) return run.template operator()<kFour>();
  run.template operator()<kMany>();
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
