// The parts that the tiles of every weight format share: reading activations, storing sums, and the
// loop over groups and columns. Re-included for each target.
//
// A tile is 16 packed rows (a group) times C rows of activations (its columns): C * 16 chains, one
// a lane, over k in order. It never splits a chain, so that C and the order of tiles are free.

#if defined(TROUPE_KERNELS_MATMUL_COMMON_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TROUPE_KERNELS_MATMUL_COMMON_INL_H_
#undef TROUPE_KERNELS_MATMUL_COMMON_INL_H_
#else
#define TROUPE_KERNELS_MATMUL_COMMON_INL_H_
#endif

#include <cstring>

#include <troupe/runtime/kernels/vector/simd-inl.h>
#include <troupe/runtime/quant/layout.h>

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {

// The destination of the sums of one or more groups: out + column * stride + row.
struct Output {
  float* out;
  std::size_t stride;
  std::size_t rows;  // how many of its groups' rows exist
  bool accumulate;
};

// Stores kLanes sums of rows [row, row + kLanes) of the groups.
HWY_INLINE void put(const Output& output, std::size_t column, std::size_t row, Floats sums) {
  float* to = output.out + column * output.stride + row;
  if (row + kLanes <= output.rows) [[likely]] {
    if (output.accumulate) sums = hn::Add(hn::LoadU(kFloat, to), sums);
    hn::StoreU(sums, kFloat, to);
    return;
  }
  alignas(64) float lanes[kLanes];
  hn::Store(sums, kFloat, lanes);
  for (std::size_t r = 0; row + r < output.rows; ++r)
    to[r] = output.accumulate ? to[r] + lanes[r] : lanes[r];
}

using Ints = hn::Vec<IntTag>;

HWY_INLINE Ints load_ints(const std::byte* from) {
  return hn::LoadU(kInt, reinterpret_cast<const std::int32_t*>(from));
}
// Returns four bytes, to be broadcast.
HWY_INLINE std::int32_t load_four(const void* from) {
  std::int32_t four;
  std::memcpy(&four, from, 4);
  return four;
}

// Scales of a run of a superblock: some formats have one for each half of it.
template <class Layout>
constexpr std::size_t kScales = Layout::kHalfScales ? 2 : 1;

// Returns the bytes, which are numbers from 0 to 15, replaced by the values that a layout's table
// has for them.
template <class Layout>
HWY_INLINE Ints look_up(Ints numbers) {
  const hn::Repartition<std::uint64_t, IntTag> words;
  const hn::Repartition<std::uint8_t, IntTag> bytes;
  const auto table = hn::BitCast(bytes, hn::LoadDup128(words, quant::kCodeWords<Layout::kCodes>));
  return hn::BitCast(kInt, hn::TableLookupBytes(table, hn::BitCast(bytes, numbers)));
}

// Returns piece p of a run (quant/layout.h), for part `h` of its rows: the integers of k = 4p .. 4p
// + 3 that are multiplied, as the bytes of each row's lane. p is a constant once loops are
// unrolled.
template <class Layout>
HWY_INLINE Ints run_piece(const std::byte* run, std::size_t p, std::size_t h) {
  constexpr std::size_t kBits = Layout::kBits;
  const std::byte* at = run + 4 * kLanes * h;
  if constexpr (kBits == 8) {
    return load_ints(at + 64 * p);
  } else if constexpr (kBits < 4) {
    const Ints two = hn::Set(kInt, 0x03030303), third = hn::Set(kInt, 0x04040404);
    const Ints low = hn::And(
        hn::ShiftRightSame(load_ints(at + 64 * (p % 2)), static_cast<int>(2 * (p / 2))), two);
    if constexpr (kBits == 2) return low;
    Ints high = load_ints(at + 128);
    if (p < 2) high = hn::ShiftLeftSame(high, static_cast<int>(2 - p));
    if (p > 2) high = hn::ShiftRightSame(high, static_cast<int>(p - 2));
    return hn::Or(low, hn::And(high, third));
  } else {
    Ints low = load_ints(at + 64 * (p % 4));
    if (p >= 4) low = hn::ShiftRight<4>(low);
    low = hn::And(low, hn::Set(kInt, 0x0f0f0f0f));
    if constexpr (Layout::kCodes != quant::Codes::kIntegers) return look_up<Layout>(low);
    if constexpr (kBits == 4) return low;
    constexpr std::size_t kPieces = quant::kHighPieces<kBits>;
    constexpr auto kMask = static_cast<std::int32_t>(quant::kHighMask<kBits> << 4);
    Ints high = load_ints(at + 256 + 64 * (p / kPieces));
    const std::size_t shift = (kBits - 4) * (p % kPieces);  // where the piece's bits are
    if (shift < 4) high = hn::ShiftLeftSame(high, static_cast<int>(4 - shift));
    if (shift > 4) high = hn::ShiftRightSame(high, static_cast<int>(shift - 4));
    return hn::Or(low, hn::And(high, hn::Set(kInt, kMask)));
  }
}

// Does the same for a run whose integers may be unpacked already, into a byte each (expand_run).
template <class Layout, bool kExpanded>
HWY_INLINE Ints integers_of(const std::byte* run, std::size_t p, std::size_t h) {
  if constexpr (kExpanded) {
    return load_ints(run + 64 * p + 4 * kLanes * h);
  } else {
    return run_piece<Layout>(run, p, h);
  }
}

// A tile has these constants: kGroups, the number of groups that it takes; kColumns, the most
// columns; kElementBytes, the bytes of an activation; kFetchesInFront (see kStreamTiles). It has
// the members w, group (packed bytes), x (Activations) and output, and
//   template <std::size_t C> void run(std::size_t first_column, Stream) const
// The sizes that are compiled are kColumns and the powers of two under it.
constexpr std::size_t smaller_tile(std::size_t columns) {
  std::size_t power = 1;
  while (power * 2 < columns) power *= 2;
  return power;
}

// How far ahead weights are fetched if only one tile reads them. Half of this is as good from
// memory, but too near for the third-level cache.
constexpr std::size_t kStreamAhead = 8192;
// How far ahead weights are moved from the second-level cache to the first.
constexpr std::size_t kNearAhead = 768;

// The memory that is fetched into the second-level cache during one run: a line with each of its
// eight pieces, and the rest with the last one. Fetching all of it at once is a quarter slower
// (docs/performance.md), because it takes up the slots for cache misses that the weights and
// activations of the run itself need.
struct StreamPart {
  const std::byte* from = nullptr;
  std::size_t bytes = 0;
  // As in Stream. If true, the memory kNearAhead further on is moved to the first level.
  bool alone = false;

  HWY_INLINE void piece(std::size_t p) const {
    constexpr std::size_t kLine = 64, kLast = 7;
    if (p * kLine < bytes) line(p * kLine);
    if (p != kLast) return;
    for (std::size_t at = (kLast + 1) * kLine; at < bytes; at += kLine) line(at);
  }

 private:
  HWY_INLINE void line(std::size_t at) const {
    prefetch_second_level(from + at);
    if (alone) prefetch_first_level(from + at - (kStreamAhead - kNearAhead));
  }
};

// Bytes that a tile fetches while it computes, a part with each of its runs.
struct Stream {
  const std::byte* from = nullptr;
  std::size_t bytes = 0;  // all of them, or those of a part once cut() was called
  bool alone = false;     // no other tile reads these weights, so `from` is the memory after them

  HWY_INLINE void cut(std::size_t parts) { bytes = (bytes + parts - 1) / parts; }
  HWY_INLINE StreamPart part(std::size_t i) const { return {from + i * bytes, bytes, alone}; }
  // Fetches all of a part at once.
  HWY_INLINE void fetch(std::size_t i) const {
    for (std::size_t at = 0; at < bytes; at += 64) prefetch_second_level(from + i * bytes + at);
  }
};

// Runs a tile on as many of the `left` columns as it takes, and returns their number.
template <class Tile, std::size_t C = Tile::kColumns>
HWY_INLINE std::size_t run_columns(const Tile& tile, std::size_t left, std::size_t column,
                                   Stream stream) {
  // Two halves are faster than a full tile and a small rest.
  const bool halves = left > C && left <= 2 * smaller_tile(C);
  if (C == 1 || (left >= C && !halves)) {
    tile.template run<C>(column, stream);
    return C;
  }
  if constexpr (C > 1) return run_columns<Tile, smaller_tile(C)>(tile, left, column, stream);
  return 0;
}

// Up to this number of tiles, each fetches its part of the next group's weights run by run. With
// more tiles, a run's part would be less than a cache line, so that a tile fetches before it begins
// if it has kFetchesInFront. Floats have more bytes than that, and a burst before each tile costs
// them a tenth.
constexpr std::size_t kStreamTiles = 4;

HWY_INLINE Output output_of(const PackedMatrix& w, std::size_t group, std::size_t groups,
                            float* out, std::size_t stride, bool accumulate) {
  const std::size_t row = group * kGroupRows, rows = groups * kGroupRows;
  return {out + row, stride, w.rows - row < rows ? w.rows - row : rows, accumulate};
}

// Runs the tiles of groups [group_begin, group_end), a multiple of the tile's kGroups.
template <class Tile>
void run_tiles(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
               std::size_t group_end, float* out, std::size_t out_stride, bool accumulate) {
  // The bytes of the columns of one pass over the weights: their activations stay in the
  // second-level cache while a group's weights stay in the first.
  constexpr std::size_t kPassBytes = 192 << 10;
  const std::size_t column_bytes = x.columns * Tile::kElementBytes;
  const std::size_t wanted = kPassBytes / (column_bytes + 1) / Tile::kColumns * Tile::kColumns;
  const std::size_t pass = wanted < 4 * Tile::kColumns ? 4 * Tile::kColumns : wanted;
  const std::size_t tile_bytes = Tile::kGroups * w.group_bytes;
  for (std::size_t begin = 0; begin < x.rows; begin += pass) {
    const std::size_t end = x.rows - begin < pass ? x.rows : begin + pass;
    for (std::size_t group = group_begin; group < group_end; group += Tile::kGroups) {
      const Tile tile{w, w.data.data() + group * w.group_bytes, x,
                      output_of(w, group, Tile::kGroups, out, out_stride, accumulate)};
      // The next weights are fetched while these are used: the hardware's prefetcher forgets a
      // stream that pauses, and does not follow one beyond a page.
      const std::size_t tiles = (end - begin + Tile::kColumns - 1) / Tile::kColumns;
      Stream stream{tile.group + kStreamAhead, tile_bytes, true};
      if (tiles > 1) {
        const bool last = group + Tile::kGroups >= group_end;
        stream = {tile.group + tile_bytes, last ? 0 : tile_bytes / tiles, false};
      }
      for (std::size_t column = begin; column < end; stream.from += stream.bytes) {
        const bool in_front = Tile::kFetchesInFront && tiles > kStreamTiles;
        if (in_front) stream.fetch(0);
        column += run_columns(tile, end - column, column, in_front ? Stream{} : stream);
      }
    }
  }
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
