// Attention of the vector targets. Compiled once for each target.
//
// The query vectors (rows x heads) that read one key head are taken up to six at a time, a tile, so
// that a loaded key or value serves six of them. A vector's sums depend on its own keys only: its
// scores are chains over channels, cut at kSumColumns, one key a lane; its softmax is a pass of its
// own; its sum over values is a chain over its keys, cut at kSumKeys. A key that some vectors of
// the tile do not see is added only for the others.

#include <algorithm>
#include <cstring>
#include <limits>

#include <troupe/runtime/kernels/targets.h>

#ifndef TROUPE_KERNEL_GROUP
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE <troupe/runtime/kernels/vector/attention.cpp>
#endif
#include <troupe/runtime/kernels/vector/foreach_target.h>

#if TROUPE_VECTOR_TARGET
#include <troupe/runtime/kernels/vector/simd-inl.h>
#include <troupe/runtime/numerics/elementary.h>
#include <troupe/runtime/numerics/half.h>

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {
namespace {

struct Tile {
  std::size_t count = 0;
  std::size_t base = 0;  // the key of scores[v][0], a multiple of kPageKeys
  const float* q[kAttentionTile];
  float* out[kAttentionTile];
  std::size_t first[kAttentionTile];  // keys [first, last] are seen
  std::size_t last[kAttentionTile];
  float* scores[kAttentionTile];  // then probabilities
  float* part[kAttentionTile];    // sum over values since the last cut
  float* total[kAttentionTile];
  float sum[kAttentionTile];  // of the probabilities
  const float* sink[kAttentionTile];
  std::size_t head[kAttentionTile];
  std::size_t row[kAttentionTile];
};

template <std::size_t kBytes>
HWY_INLINE Floats load_kv(const std::byte* from) {
  if constexpr (kBytes == 2) {
    return load_f16(from);
  } else {
    return hn::LoadU(kFloat, reinterpret_cast<const float*>(from));
  }
}

// Returns the number of key blocks that V vectors take side by side: enough chains to hide the
// latency of an FMA, but few enough to stay in registers. It divides the number of blocks of a
// page.
constexpr std::size_t blocks_for(std::size_t vectors) {
  return HWY_TARGET != HWY_AVX2 ? 4 : vectors == 1 ? 4 : vectors <= 3 ? 2 : 1;
}

// Fetches memory for small tiles, which wait for it: one page ahead, a few lines at a time. A
// head's part of a page is too short a stream for the hardware's prefetcher, and the next page lies
// elsewhere.
template <std::size_t V>
HWY_INLINE void fetch(const std::byte* from, std::size_t bytes) {
  if constexpr (V <= 3)
    for (std::size_t at = 0; at < bytes; at += 64) prefetch_second_level(from + at);
}

// A tile's sums over channels: V vectors, for the keys of blocks_for(V) blocks.
template <std::size_t V>
using ScoreSums = Floats[blocks_for(V)][kParts][V];

// sums = q . keys over the channels [begin, end), from 0 and in channel order; `keys` and `ahead`
// are those of channel 0.
template <std::size_t V, std::size_t kBytes>
HWY_INLINE void score_channels(const std::byte* keys, const std::byte* ahead, std::size_t head_dim,
                               std::size_t begin, std::size_t end, const float* const* q,
                               ScoreSums<V>& sums) {
  constexpr std::size_t kBlocks = blocks_for(V);
  for (std::size_t b = 0; b < kBlocks; ++b)
    for (std::size_t p = 0; p < kParts; ++p)
      for (std::size_t v = 0; v < V; ++v) sums[b][p][v] = hn::Zero(kFloat);
  keys += begin * kKeyBlock * kBytes;
  const auto load_keys = [&](std::size_t b, std::size_t p) HWY_ATTR {
    return load_kv<kBytes>(keys + (b * head_dim * kKeyBlock + p * kLanes) * kBytes);
  };
  for (std::size_t c = begin; c < end; ++c, keys += kKeyBlock * kBytes) {
    fetch<V>(ahead + c * kBlocks * kKeyBlock * kBytes, kBlocks * kKeyBlock * kBytes);
    // The smaller set of operands stays in registers beside the sums.
    if constexpr (V < kBlocks * kParts) {
      Floats value[V];
      for (std::size_t v = 0; v < V; ++v) value[v] = hn::Set(kFloat, q[v][c]);
      for (std::size_t b = 0; b < kBlocks; ++b)
        for (std::size_t p = 0; p < kParts; ++p) {
          const Floats k = load_keys(b, p);
          for (std::size_t v = 0; v < V; ++v)
            sums[b][p][v] = hn::MulAdd(k, value[v], sums[b][p][v]);
        }
    } else {
      Floats k[kBlocks][kParts];
      for (std::size_t b = 0; b < kBlocks; ++b)
        for (std::size_t p = 0; p < kParts; ++p) k[b][p] = load_keys(b, p);
      for (std::size_t v = 0; v < V; ++v) {
        const Floats value = hn::Set(kFloat, q[v][c]);
        for (std::size_t b = 0; b < kBlocks; ++b)
          for (std::size_t p = 0; p < kParts; ++p)
            sums[b][p][v] = hn::MulAdd(k[b][p], value, sums[b][p][v]);
      }
    }
  }
}

// Computes the scores of V vectors for the keys of blocks_for(V) blocks at `keys`, and stores them
// at scores[v] + at. As many blocks at `ahead` are fetched. While channels are left to add, the
// chunks' sums wait in `scores`.
template <std::size_t V, std::size_t kBytes>
HWY_INLINE void score_blocks(const std::byte* keys, const std::byte* ahead, std::size_t head_dim,
                             const float* const* q, float scale, float* const* scores,
                             std::size_t at) {
  const Floats scales = hn::Set(kFloat, scale);
  for (std::size_t begin = 0;;) {
    const bool last = head_dim - begin <= kSumColumns;
    const std::size_t end = last ? head_dim : begin + kSumColumns;
    ScoreSums<V> sums;
    score_channels<V, kBytes>(keys, ahead, head_dim, begin, end, q, sums);
    for (std::size_t v = 0; v < V; ++v)
      for (std::size_t b = 0; b < blocks_for(V); ++b)
        for (std::size_t p = 0; p < kParts; ++p) {
          float* const score = scores[v] + at + b * kKeyBlock + p * kLanes;
          Floats sum = sums[b][p][v];
          if (begin != 0) sum = hn::Add(hn::LoadU(kFloat, score), sum);
          hn::StoreU(last ? hn::Mul(sum, scales) : sum, kFloat, score);
        }
    if (last) return;
    begin = end;
  }
}

// Returns the blocks of keys from `key` to the end of its page.
template <std::size_t kBytes>
HWY_INLINE const std::byte* page_keys(const AttentionArgs& args, std::size_t kv_head,
                                      std::size_t key) {
  const std::size_t block = kv_head * (kPageKeys / kKeyBlock) + key % kPageKeys / kKeyBlock;
  return args.pages[key / kPageKeys] + block * args.head_dim * kKeyBlock * kBytes;
}

// Returns the address of the value vectors of `key` and of the later keys of its page.
template <std::size_t kBytes>
HWY_INLINE const std::byte* page_values(const AttentionArgs& args, std::size_t kv_head,
                                        std::size_t key) {
  const std::size_t row = (args.kv_heads + kv_head) * kPageKeys + key % kPageKeys;
  return args.pages[key / kPageKeys] + row * args.head_dim * kBytes;
}

// Computes the scores of every vector of the tile for the keys of all pages from tile.base to the
// last key.
template <std::size_t V, std::size_t kBytes>
void score_tile(const AttentionArgs& args, std::size_t kv_head, const Tile& tile) {
  constexpr std::size_t kStep = blocks_for(V) * kKeyBlock;
  const std::size_t begin = *std::min_element(tile.first, tile.first + V) / kStep * kStep;
  const std::size_t end = *std::max_element(tile.last, tile.last + V) + 1;
  for (std::size_t key = begin; key < end; key += kStep) {
    const std::size_t next = key + kPageKeys;
    const std::byte* ahead =
        next < end
            ? page_keys<kBytes>(args, kv_head, next)
            : page_values<kBytes>(args, kv_head, begin / kPageKeys * kPageKeys + key % kPageKeys);
    const std::byte* keys = page_keys<kBytes>(args, kv_head, key);
    score_blocks<V, kBytes>(keys, ahead, args.head_dim, tile.q, args.scale, tile.scores,
                            key - tile.base);
  }
}

// score = cap * tanh(score / cap) for the blocks of 16 keys that hold keys [first, last].
HWY_NOINLINE void cap_scores(float* scores, std::size_t first, std::size_t last, float cap) {
  const Floats caps = hn::Set(kFloat, cap);
  for (std::size_t j = first / 16 * 16; j < (last / 16 + 1) * 16; j += kLanes)
    hn::StoreU(hn::Mul(caps, tanh_lanes(hn::Div(hn::LoadU(kFloat, scores + j), caps))), kFloat,
               scores + j);
}

// Adds the values that depend on the keys' distances to the scores of vector v.
HWY_NOINLINE void add_relative(const AttentionArgs& args, const Tile& tile, std::size_t v) {
  for (std::size_t key = tile.first[v]; key <= tile.last[v]; ++key)
    tile.scores[v][key - tile.base] += args.relative_bias(tile.head[v], tile.row[v], key);
}

// Replaces scores by exp(score - largest), and by 0 for keys of the first and the last block of 16
// that are not seen; returns the sum. `scores` starts at a multiple of 16 keys; keys [first, last]
// of it are seen. A score `sink`, if it is not null, takes part in the maximum and the sum.
HWY_NOINLINE float softmax(float* scores, std::size_t first, std::size_t last, const float* sink) {
  const std::size_t begin = first / 16 * 16, end = (last / 16 + 1) * 16;
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  std::fill(scores + begin, scores + first, kLowest);
  std::fill(scores + last + 1, scores + end, kLowest);
  Floats largest[kParts];
  for (std::size_t p = 0; p < kParts; ++p) largest[p] = hn::Set(kFloat, kLowest);
  for (std::size_t j = begin; j < end; j += 16)
    for (std::size_t p = 0; p < kParts; ++p)
      largest[p] = hn::Max(hn::LoadU(kFloat, scores + j + p * kLanes), largest[p]);
  alignas(64) float lanes[16];
  for (std::size_t p = 0; p < kParts; ++p) hn::Store(largest[p], kFloat, lanes + p * kLanes);
  float most = *std::max_element(lanes, lanes + 16);
  if (sink != nullptr) most = std::max(most, *sink);
  const Floats maximum = hn::Set(kFloat, most);
  Floats partial[kParts];
  for (std::size_t p = 0; p < kParts; ++p) partial[p] = hn::Zero(kFloat);
  for (std::size_t j = begin; j < end; j += 16) {
    for (std::size_t p = 0; p < kParts; ++p) {
      const Floats score = hn::LoadU(kFloat, scores + j + p * kLanes);
      hn::StoreU(exp_lanes(hn::Sub(score, maximum)), kFloat, scores + j + p * kLanes);
    }
    if (j < first) std::fill(scores + j, scores + first, 0.0f);
    if (j + 16 == end) std::fill(scores + last + 1, scores + end, 0.0f);
    for (std::size_t p = 0; p < kParts; ++p)
      partial[p] = hn::Add(partial[p], hn::LoadU(kFloat, scores + j + p * kLanes));
  }
  const float sum = tree_sum(partial);
  return sink != nullptr ? sum + exp_bits(*sink - most) : sum;
}

// part[v][c] += p[v][j] * values[j][c] for the keys j in [0, keys), C vectors of channels from c.
// The memory `ahead` bytes after each value is prefetched.
template <std::size_t V, std::size_t C, std::size_t kBytes>
HWY_INLINE void add_values_at(const std::byte* values, std::ptrdiff_t ahead, std::size_t keys,
                              std::size_t head_dim, const float* const* probabilities,
                              std::size_t at, std::size_t c, float* const* part) {
  Floats sums[C][V];
  for (std::size_t i = 0; i < C; ++i)
    for (std::size_t v = 0; v < V; ++v) sums[i][v] = hn::LoadU(kFloat, part[v] + c + i * kLanes);
  values += c * kBytes;
  for (std::size_t j = 0; j < keys; ++j, values += head_dim * kBytes) {
    fetch<V>(values + ahead, C * kLanes * kBytes);
    // The smaller set of operands stays in registers beside the sums.
    if constexpr (V < C) {
      Floats p[V];
      for (std::size_t v = 0; v < V; ++v) p[v] = hn::Set(kFloat, probabilities[v][at + j]);
      for (std::size_t i = 0; i < C; ++i) {
        const Floats value = load_kv<kBytes>(values + i * kLanes * kBytes);
        for (std::size_t v = 0; v < V; ++v) sums[i][v] = hn::MulAdd(p[v], value, sums[i][v]);
      }
    } else {
      Floats value[C];
      for (std::size_t i = 0; i < C; ++i) value[i] = load_kv<kBytes>(values + i * kLanes * kBytes);
      for (std::size_t v = 0; v < V; ++v) {
        const Floats p = hn::Set(kFloat, probabilities[v][at + j]);
        for (std::size_t i = 0; i < C; ++i) sums[i][v] = hn::MulAdd(p, value[i], sums[i][v]);
      }
    }
  }
  for (std::size_t i = 0; i < C; ++i)
    for (std::size_t v = 0; v < V; ++v) hn::StoreU(sums[i][v], kFloat, part[v] + c + i * kLanes);
}

template <std::size_t kBytes>
float load_kv_one(const std::byte* from) {
  if constexpr (kBytes == 2) {
    std::uint16_t bits;
    std::memcpy(&bits, from, 2);
    return f16_to_f32(bits);
  } else {
    float value;
    std::memcpy(&value, from, 4);
    return value;
  }
}

template <std::size_t V, std::size_t kBytes>
HWY_INLINE void add_values(const std::byte* values, std::ptrdiff_t ahead, std::size_t keys,
                           std::size_t head_dim, const float* const* probabilities, std::size_t at,
                           float* const* part) {
  constexpr std::size_t kChunk = HWY_TARGET != HWY_AVX2 ? 4 : V == 1 ? 8 : V <= 3 ? 4 : 2;
  std::size_t c = 0;
  for (; c + kChunk * kLanes <= head_dim; c += kChunk * kLanes)
    add_values_at<V, kChunk, kBytes>(values, ahead, keys, head_dim, probabilities, at, c, part);
  for (; c + kLanes <= head_dim; c += kLanes)
    add_values_at<V, 1, kBytes>(values, ahead, keys, head_dim, probabilities, at, c, part);
  for (; c < head_dim; ++c)
    for (std::size_t v = 0; v < V; ++v)
      for (std::size_t j = 0; j < keys; ++j) {
        const float value = load_kv_one<kBytes>(values + (j * head_dim + c) * kBytes);
        part[v][c] = __builtin_fmaf(probabilities[v][at + j], value, part[v][c]);
      }
}

// Adds the keys [from, to) of a page that only vector v sees.
template <std::size_t kBytes>
HWY_NOINLINE void add_for_one(const AttentionArgs& args, std::size_t kv_head, const Tile& tile,
                              std::size_t v, std::size_t from, std::size_t to) {
  from = std::max(from, tile.first[v]);
  to = std::min(to, tile.last[v] + 1);
  if (from < to)
    add_values<1, kBytes>(page_values<kBytes>(args, kv_head, from), 0, to - from, args.head_dim,
                          tile.scores + v, from - tile.base, tile.part + v);
}

// Adds the values of keys [begin, end), all of one page, for the vectors that see them.
template <std::size_t V, std::size_t kBytes>
void add_page(const AttentionArgs& args, std::size_t kv_head, Tile& tile, std::size_t begin,
              std::size_t end) {
  const std::size_t next = begin + kPageKeys;
  const std::ptrdiff_t ahead =
      next <= tile.last[V - 1] ? args.pages[next / kPageKeys] - args.pages[begin / kPageKeys] : 0;
  const std::size_t all_begin = std::max(begin, *std::max_element(tile.first, tile.first + V));
  const std::size_t all_end = std::min(end, *std::min_element(tile.last, tile.last + V) + 1);
  if (all_begin >= all_end) {
    for (std::size_t v = 0; v < V; ++v) add_for_one<kBytes>(args, kv_head, tile, v, begin, end);
    return;
  }
  for (std::size_t v = 0; v < V; ++v) add_for_one<kBytes>(args, kv_head, tile, v, begin, all_begin);
  add_values<V, kBytes>(page_values<kBytes>(args, kv_head, all_begin), ahead, all_end - all_begin,
                        args.head_dim, tile.scores, all_begin - tile.base, tile.part);
  for (std::size_t v = 0; v < V; ++v) add_for_one<kBytes>(args, kv_head, tile, v, all_end, end);
}

HWY_INLINE void add_part_to_total(float* part, float* total, std::size_t head_dim) {
  for (std::size_t c = 0; c < head_dim; c += kLanes) {  // both rows are padded
    hn::StoreU(hn::Add(hn::LoadU(kFloat, total + c), hn::LoadU(kFloat, part + c)), kFloat,
               total + c);
    hn::StoreU(hn::Zero(kFloat), kFloat, part + c);
  }
}

template <std::size_t V, std::size_t kBytes>
void run_tile(const AttentionArgs& args, std::size_t kv_head, Tile& tile) {
  score_tile<V, kBytes>(args, kv_head, tile);
  for (std::size_t v = 0; v < V; ++v) {
    if (args.cap != 0.0f)
      cap_scores(tile.scores[v], tile.first[v] - tile.base, tile.last[v] - tile.base, args.cap);
    if (args.relative != nullptr) add_relative(args, tile, v);
    tile.sum[v] =
        softmax(tile.scores[v], tile.first[v] - tile.base, tile.last[v] - tile.base, tile.sink[v]);
    std::fill_n(tile.part[v], padded(args.head_dim, 16), 0.0f);
    std::fill_n(tile.total[v], padded(args.head_dim, 16), 0.0f);
  }
  const std::size_t begin = *std::min_element(tile.first, tile.first + V);
  const std::size_t end = *std::max_element(tile.last, tile.last + V) + 1;
  for (std::size_t key = begin; key < end;) {
    const std::size_t next = std::min((key / kPageKeys + 1) * kPageKeys, end);
    add_page<V, kBytes>(args, kv_head, tile, key, next);
    key = next;
    // A vector without keys since the last cut adds +0 to a total that is never -0.
    if (key % kSumKeys == 0 || key == end)
      for (std::size_t v = 0; v < V; ++v)
        add_part_to_total(tile.part[v], tile.total[v], args.head_dim);
  }
  for (std::size_t v = 0; v < V; ++v) {
    const Floats sum = hn::Set(kFloat, tile.sum[v]);
    const std::size_t whole = args.head_dim / kLanes * kLanes;
    for (std::size_t c = 0; c < whole; c += kLanes)
      hn::StoreU(hn::Div(hn::LoadU(kFloat, tile.total[v] + c), sum), kFloat, tile.out[v] + c);
    for (std::size_t c = whole; c < args.head_dim; ++c)
      tile.out[v][c] = tile.total[v][c] / tile.sum[v];
  }
}

// Returns the number of vectors of the next tile if `left` are left: one of the sizes of
// run_tile_of.
constexpr std::size_t tile_count(std::size_t left) {
  return left >= kAttentionTile ? kAttentionTile : left == 5 ? 3 : left;
}

template <std::size_t kBytes>
void run_tile_of(const AttentionArgs& args, std::size_t kv_head, Tile& tile) {
  switch (tile.count) {
    case 1:
      return run_tile<1, kBytes>(args, kv_head, tile);
    case 2:
      return run_tile<2, kBytes>(args, kv_head, tile);
    case 3:
      return run_tile<3, kBytes>(args, kv_head, tile);
    case 4:
      return run_tile<4, kBytes>(args, kv_head, tile);
    default:
      return run_tile<kAttentionTile, kBytes>(args, kv_head, tile);
  }
}

}  // namespace

void attention(const AttentionArgs& args, std::size_t head_begin, std::size_t head_end,
               std::size_t row_begin, std::size_t row_end, float* scratch) {
  const std::size_t heads_per_kv = args.heads / args.kv_heads;
  for (std::size_t head = head_begin; head < head_end;) {
    const std::size_t kv_head = head / heads_per_kv;
    const std::size_t next_head = std::min((kv_head + 1) * heads_per_kv, head_end);
    const std::size_t heads = next_head - head;
    const std::size_t vectors = (row_end - row_begin) * heads;
    for (std::size_t begin = 0; begin < vectors;) {
      Tile tile;
      tile.count = tile_count(vectors - begin);
      const std::size_t last_row = row_begin + (begin + tile.count - 1) / heads;
      const std::size_t keys =
          args.bidirectional_keys != 0 ? args.bidirectional_keys : args.position + last_row + 1;
      for (std::size_t v = 0; v < tile.count; ++v) {
        const std::size_t row = row_begin + (begin + v) / heads;
        const std::size_t its_head = head + (begin + v) % heads;
        const std::size_t channel = its_head * args.head_dim;
        tile.sink[v] = args.sinks != nullptr ? args.sinks + its_head : nullptr;
        tile.q[v] = args.q + row * args.q_stride + channel;
        tile.out[v] = args.out + row * args.out_stride + channel;
        tile.head[v] = its_head;
        tile.row[v] = row;
        tile.last[v] = args.last_key(row);
        tile.first[v] = args.first_key(row);
      }
      // The rows ascend, and so do the first keys that they see.
      tile.base = tile.first[0] / kPageKeys * kPageKeys;
      for (std::size_t v = 0; v < tile.count; ++v) {
        float* mine = scratch + v * attention_tile_floats(keys - tile.base, args.head_dim);
        tile.part[v] = mine;
        tile.total[v] = mine + padded(args.head_dim, 16);
        tile.scores[v] = mine + 2 * padded(args.head_dim, 16);
      }
      if (args.kv_type == KvType::kF16) {
        run_tile_of<2>(args, kv_head, tile);
      } else {
        run_tile_of<4>(args, kv_head, tile);
      }
      begin += tile.count;
    }
    head = next_head;
  }
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // TROUPE_VECTOR_TARGET
