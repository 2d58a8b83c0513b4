#pragma once

#include <troupe/runtime/cuda/kernels/weights.h>

// Products of weight matrices with rows of activations, with the bits of kernels::Kernels::matmul:
// the integers of a block are exact in any order, then one fused multiply-add a block (and one for
// its offset), in the order of the blocks. The number of rows decides which kernel runs, and
// changes no bit.

namespace troupe::cuda::TROUPE_CUDA_SIDE {

struct ProductMatrix {
  const unsigned char* data = nullptr;
  std::size_t group_bytes = 0;
  int rows = 0;                 // outputs; each row of `out` has this many
  const float* bias = nullptr;  // (rows), or null
  float* out = nullptr;         // (batch, rows)
};

constexpr int kMatricesMax = 3;

// Up to three matrices of one format that multiply the same rows.
struct ProductArgs {
  ProductMatrix matrices[kMatricesMax];
  int count = 0;
  int columns = 0;             // K
  int batch = 0;               // rows of activations
  const float* x = nullptr;    // (batch, K), for weights without blocks
  RowBlocks blocks;            // the blocks of the same rows, for the other weights
  bool accumulate = false;     // out += instead of out =
  bool round_to_half = false;  // out is rounded to f16 last
};

struct GroupOfMatrix {
  ProductMatrix matrix;
  const unsigned char* data;
  int first_row;
};

// Finds group `index` of all the matrices laid end to end; data is null past the last one.
__device__ inline GroupOfMatrix find_group(const ProductArgs& args, int index) {
  for (int i = 0; i < args.count; ++i) {
    const ProductMatrix& matrix = args.matrices[i];
    const int groups = (matrix.rows + 15) / 16;
    if (index < groups) return {matrix, matrix.data + index * matrix.group_bytes, index * 16};
    index -= groups;
  }
  return {{}, nullptr, 0};
}

// Writes the finished sum of one output. A bias is put there (or added) before the sum is, as on
// the CPU.
__device__ inline void finish(const ProductArgs& args, const GroupOfMatrix& group, int row,
                              int column, float sum) {
  row += group.first_row;
  if (row >= group.matrix.rows || column >= args.batch) return;
  float* out = group.matrix.out + static_cast<std::size_t>(column) * group.matrix.rows + row;
  float value = sum;
  if (args.accumulate) {
    float before = *out;
    if (group.matrix.bias != nullptr) before += group.matrix.bias[row];
    value = before + sum;
  } else if (group.matrix.bias != nullptr) {
    value = group.matrix.bias[row] + sum;
  }
  *out = args.round_to_half ? from_half(to_half(value)) : value;
}

// These return the blocks of activations that a format multiplies.
template <class L>
__device__ inline const std::int8_t* quants_of(const RowBlocks& x) {
  return L::kScaleWords == 0 ? x.q : x.super_q;
}
template <class L>
__device__ inline float scale_of(const RowBlocks& x, std::size_t block) {
  return L::kScaleWords == 0 ? x.d[block] : x.super_d[block];
}

// Adds one block to a sum: acc = fma(d, i, acc), then acc = fma(m, o, acc) if there is an m.
struct Term {
  float2 product, offset;
};
template <class L>
__device__ inline Term term_of(const unsigned char* group, int b, int row, const RowBlocks& x,
                               std::size_t block, int isum, int ioff) {
  const float d = scale_of<L>(x, block);
  Term term;
  term.product = {block_scale<L>(group, b, row) * d, static_cast<float>(isum)};
  if constexpr (L::kHasM) {
    const float m = from_half(load<std::uint16_t>(group + L::m_at(b) + 2 * row));
    if constexpr (L::kScaleWords == 0) {
      term.offset = {m, x.s[block]};
    } else {
      term.offset = {-m * d, static_cast<float>(ioff)};
    }
  }
  return term;
}
template <class L>
__device__ inline float add_term(const Term& term, float acc) {
  acc = fma(term.product.x, term.product.y, acc);
  if constexpr (L::kHasM) acc = fma(term.offset.x, term.offset.y, acc);
  return acc;
}

// The sums of the stored integers of block b of one row, before kOffset and the sub-blocks' offsets
// are taken into account.
struct IntegerSums {
  int isum = 0, ioff = 0;
};

// Adds the terms that do not need the weights' integers: isum -= kOffset * (the activations' sums),
// and ioff = offsets * sums.
template <class L>
__device__ inline void add_offsets(const RowScales<L>& scales, const RowBlocks& x,
                                   std::size_t block, IntegerSums* sums) {
  if constexpr (L::kScaleWords == 0) {
    if constexpr (L::kOffset != 0) sums->isum -= L::kOffset * x.sum[block];
  } else {
    const std::int16_t* of_16 = x.super_sums + block * 16;
    for (int j = 0; j < 8; ++j) {
      if constexpr (L::kHasM && !L::kHalfScales)
        sums->ioff += scales.offset(j) * (of_16[2 * j] + of_16[2 * j + 1]);
      if constexpr (L::kHasM && L::kHalfScales)
        sums->ioff += scales.half_offset(2 * j) * of_16[2 * j] +
                      scales.half_offset(2 * j + 1) * of_16[2 * j + 1];
      if constexpr (L::kOffset != 0)
        sums->isum -= L::kOffset * (scales.half_scale(2 * j) * of_16[2 * j] +
                                    scales.half_scale(2 * j + 1) * of_16[2 * j + 1]);
    }
  }
}

// Computes the integer sums of block b for one row of activations, by dp4a. Each lane gets the sum
// for one of the 16 weight rows, whose number is *row.
template <class L>
__device__ inline int column_sum(const unsigned char* group, int b, const std::int8_t* q,
                                 int* row) {
  const int lane = threadIdx.x % kWarp;
  const bool up = (lane & 16) != 0, up2 = (lane & 8) != 0;
  // With 8 bits, a lane multiplies 4 k of each of 4 rows, and 8 lanes share a row.
  if constexpr (L::kBits == 8) {
    const auto* x = reinterpret_cast<const std::uint32_t*>(q);
    const uint4 v = load<uint4>(group + L::run_at(b, 0) + 16 * lane);
    const std::uint32_t a = x[lane / 4];
    int s[4] = {dot4(v.x, a, 0), dot4(v.y, a, 0), dot4(v.z, a, 0), dot4(v.w, a, 0)};
    const int t0 = up ? s[0] : s[2], t1 = up ? s[1] : s[3];  // the sums of the other half
    s[0] = (up ? s[2] : s[0]) + __shfl_xor_sync(kWholeWarp, t0, 16);
    s[1] = (up ? s[3] : s[1]) + __shfl_xor_sync(kWholeWarp, t1, 16);
    int isum = (up2 ? s[1] : s[0]) + __shfl_xor_sync(kWholeWarp, up2 ? s[0] : s[1], 8);
    isum += __shfl_xor_sync(kWholeWarp, isum, 4);
    *row = lane % 4 * 4 + (up ? 2 : 0) + (up2 ? 1 : 0);
    return isum;
  } else {  // a lane multiplies twice 4 k of each of 2 rows
    const int p = lane / 8, first_row = lane % 8 * 2;
    int s[2] = {0, 0};
    RowScales<L> scales[2];
    for (int i = 0; i < 2; ++i) scales[i].read(group + L::scales_at(b), first_row + i);
    for (int u = 0; u < static_cast<int>(L::kRuns); ++u) {
      const unsigned char* run = group + L::run_at(b, u);
      const auto* x = reinterpret_cast<const std::uint32_t*>(q + 32 * u);
      const uint2 v = load<uint2>(run + word_at<L>(p) + 4 * first_row);
      for (int i = 0; i < 2; ++i) {
        std::uint32_t low, high;
        unpack_words<L>(run, first_row + i, p, i == 0 ? v.x : v.y, &low, &high);
        if constexpr (L::kScaleWords == 0) s[i] = dot4(low, x[p], dot4(high, x[p + 4], s[i]));
        if constexpr (L::kScaleWords != 0 && !L::kHalfScales)
          s[i] += scales[i].scale(u) * dot4(low, x[p], dot4(high, x[p + 4], 0));
        if constexpr (L::kHalfScales)
          s[i] += scales[i].half_scale(2 * u) * dot4(low, x[p], 0) +
                  scales[i].half_scale(2 * u + 1) * dot4(high, x[p + 4], 0);
      }
    }
    int isum = (up ? s[1] : s[0]) + __shfl_xor_sync(kWholeWarp, up ? s[0] : s[1], 16);
    isum += __shfl_xor_sync(kWholeWarp, isum, 8);
    *row = first_row + (up ? 1 : 0);
    return isum;
  }
}

// Computes the integer sums of block b for columns [first, first + 8 N) of the batch, on tensor
// cores. A lane gets rows r and r + 8 (r = lane / 4) of the columns first + 8n + 2t and 2t + 1 (t =
// lane % 4): sums[n][i] is of row r + 8 (i / 2) and column 2t + i % 2.
template <class L, int N>
__device__ inline void tile_sums(const unsigned char* group, int b, const ProductArgs& args,
                                 int first, IntegerSums (&sums)[N][4]) {
  const int lane = threadIdx.x % kWarp, r = lane / 4, t = lane % 4;
  constexpr int kElements = static_cast<int>(L::kElements);
  const int blocks = args.columns / kElements;
  const std::int8_t* quants = quants_of<L>(args.blocks);
  RowScales<L> scales[2];
  scales[0].read(group + L::scales_at(b), r);
  scales[1].read(group + L::scales_at(b), r + 8);
  for (int u = 0; u < static_cast<int>(L::kRuns); ++u) {
    std::uint32_t a[4];
    load_operand<L>(group + L::run_at(b, u), r, t, a);
    for (int n = 0; n < N; ++n) {
      const int column = first + 8 * n + r;
      std::uint32_t x[2] = {0, 0};
      if (column < args.batch) {
        const auto* from = reinterpret_cast<const unsigned char*>(
            quants + (static_cast<std::size_t>(column) * blocks + b) * kElements + 32 * u + 4 * t);
        x[0] = load<std::uint32_t>(from);
        x[1] = load<std::uint32_t>(from + 16);
      }
      int s[4] = {0, 0, 0, 0};
      if constexpr (L::kHalfScales) {  // the halves of a run have scales of their own
        int upper[4] = {0, 0, 0, 0};
        const std::uint32_t first_half[4] = {a[0], a[1], 0, 0}, second_half[4] = {0, 0, a[2], a[3]};
        mma_s8(s, first_half, x);
        mma_s8(upper, second_half, x);
        for (int i = 0; i < 4; ++i)
          sums[n][i].isum += scales[i / 2].half_scale(2 * u) * s[i] +
                             scales[i / 2].half_scale(2 * u + 1) * upper[i];
      } else {
        mma_s8(s, a, x);
        for (int i = 0; i < 4; ++i)
          sums[n][i].isum += L::kScaleWords != 0 ? scales[i / 2].scale(u) * s[i] : s[i];
      }
    }
  }
  for (int n = 0; n < N; ++n)
    for (int i = 0; i < 4; ++i) {
      const int column = first + 8 * n + 2 * t + i % 2;
      if (column < args.batch)
        add_offsets<L>(scales[i / 2], args.blocks, static_cast<std::size_t>(column) * blocks + b,
                       &sums[n][i]);
    }
}

constexpr int kDecodeThreads = 256;

// Multiplies a batch of up to kColumns rows (1, 2, 4 or 8). One block of threads has a group of 16
// outputs: warps take the blocks by turns and leave their terms in shared memory, where one thread
// an output adds them in order. Grid (groups of all matrices).
template <class L, int kColumns>
__global__ void __launch_bounds__(kDecodeThreads) decode_product(ProductArgs args) {
  constexpr int kTerms = L::kHasM ? 2 : 1;
  constexpr int kAtOnce = 256 / (kColumns * kTerms);
  constexpr int kTile = kAtOnce > 64 ? 64 : kAtOnce;  // blocks whose terms are there at once
  GPU_SHARED(float2, terms, kTile * 16 * kColumns * kTerms);
  const GroupOfMatrix at = find_group(args, static_cast<int>(blockIdx.x));
  const unsigned char* group = at.data;
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  const int blocks = args.columns / static_cast<int>(L::kElements);
  const auto keep = [&](int b, int row, int column, const Term& term) {
    float2* to = terms + ((b * 16 + row) * kColumns + column) * kTerms;
    to[0] = term.product;
    if constexpr (L::kHasM) to[1] = term.offset;
  };
  float acc = 0.0f;
  for (int tile = 0; tile < blocks; tile += kTile) {
    const int end = tile + kTile < blocks ? tile + kTile : blocks;
    for (int b = tile + warp; b < end; b += warps) {
      if constexpr (kColumns == 1) {
        int row;
        IntegerSums sums;
        sums.isum = column_sum<L>(group, b, quants_of<L>(args.blocks) + b * L::kElements, &row);
        RowScales<L> scales;
        scales.read(group + L::scales_at(b), row);
        add_offsets<L>(scales, args.blocks, b, &sums);
        if ((lane & (L::kBits == 8 ? 4 : 8)) == 0)
          keep(b - tile, row, 0, term_of<L>(group, b, row, args.blocks, b, sums.isum, sums.ioff));
      } else {
        IntegerSums sums[1][4];
        tile_sums<L, 1>(group, b, args, 0, sums);
        for (int i = 0; i < 4; ++i) {
          const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
          if (column < kColumns && column < args.batch)
            keep(b - tile, row, column,
                 term_of<L>(group, b, row, args.blocks,
                            static_cast<std::size_t>(column) * blocks + b, sums[0][i].isum,
                            sums[0][i].ioff));
        }
      }
    }
    __syncthreads();
    const int row = threadIdx.x % 16, column = threadIdx.x / 16;
    if (column < kColumns && column < args.batch)
      for (int b = tile; b < end; ++b) {
        const float2* from = terms + (((b - tile) * 16 + row) * kColumns + column) * kTerms;
        Term term;
        term.product = from[0];
        if constexpr (L::kHasM) term.offset = from[1];
        acc = add_term<L>(term, acc);
      }
    __syncthreads();
  }
  const int row = threadIdx.x % 16, column = threadIdx.x / 16;
  if (column < kColumns) finish(args, at, row, column, acc);
}

constexpr int kPromptThreads = 128, kPromptTiles = 4;
// The minimum number of blocks on a multiprocessor: with four of them, sm_100 spills.
constexpr int kPromptBlocks = 3;

// Multiplies any batch. A warp has a group of 16 outputs and 8 N rows of activations. Grid (groups
// of all matrices / warps, batch / 8 N), rounded up.
template <class L, int N>
__global__ void __launch_bounds__(kPromptThreads, kPromptBlocks) prompt_product(ProductArgs args) {
  const int warps = blockDim.x / kWarp, lane = threadIdx.x % kWarp, r = lane / 4, t = lane % 4;
  const GroupOfMatrix at = find_group(
      args, static_cast<int>(blockIdx.x) * warps + static_cast<int>(threadIdx.x / kWarp));
  if (at.data == nullptr) return;
  const int blocks = args.columns / static_cast<int>(L::kElements);
  const int first = static_cast<int>(blockIdx.y) * 8 * N;
  float acc[N][4] = {};
  for (int b = 0; b < blocks; ++b) {
    IntegerSums sums[N][4];
    tile_sums<L, N>(at.data, b, args, first, sums);
    for (int n = 0; n < N; ++n)
      for (int i = 0; i < 4; ++i) {
        const int column = first + 8 * n + 2 * t + i % 2;
        if (column >= args.batch) continue;
        const Term term = term_of<L>(at.data, b, r + i / 2 * 8, args.blocks,
                                     static_cast<std::size_t>(column) * blocks + b, sums[n][i].isum,
                                     sums[n][i].ioff);
        acc[n][i] = add_term<L>(term, acc[n][i]);
      }
  }
  for (int n = 0; n < N; ++n)
    for (int i = 0; i < 4; ++i)
      finish(args, at, r + i / 2 * 8, first + 8 * n + 2 * t + i % 2, acc[n][i]);
}

constexpr int kPlainThreads = 256, kPlainColumns = 8, kChunk = 256;

// Multiplies weights without blocks by any batch: the chains of 256 columns run side by side, and
// their sums are added in order. One block of threads has a group of 16 outputs and 8 rows of
// activations; 16 threads have a chain. Grid (groups of all matrices, batch / 8 rounded up).
template <class F>
__global__ void __launch_bounds__(kPlainThreads) plain_product(ProductArgs args) {
  GPU_SHARED(float, chains, 16 * 16 * kPlainColumns);
  const GroupOfMatrix at = find_group(args, static_cast<int>(blockIdx.x));
  const int first = static_cast<int>(blockIdx.y) * kPlainColumns;
  const int left = args.batch - first, columns = left < kPlainColumns ? left : kPlainColumns;
  const int row = threadIdx.x % 16, part = threadIdx.x / 16;
  const int chunks = (args.columns + kChunk - 1) / kChunk;
  float total = 0.0f;
  for (int base = 0; base < chunks; base += 16) {
    const int begin = (base + part) * kChunk;
    const int end = begin + kChunk < args.columns ? begin + kChunk : args.columns;
    float acc[kPlainColumns] = {};
    for (int k = begin; k < end; ++k) {
      const float w = plain_weight_at<F>(at.data, k, row);
      for (int c = 0; c < kPlainColumns; ++c)
        if (c < columns)
          acc[c] = fma(w, args.x[static_cast<std::size_t>(first + c) * args.columns + k], acc[c]);
    }
    for (int c = 0; c < kPlainColumns; ++c) chains[(part * kPlainColumns + c) * 16 + row] = acc[c];
    __syncthreads();
    if (part < kPlainColumns)
      for (int i = 0; i < 16 && base + i < chunks; ++i) {
        const float chain = chains[(i * kPlainColumns + part) * 16 + row];
        total = base + i == 0 ? chain : total + chain;
      }
    __syncthreads();
  }
  if (part < columns) finish(args, at, row, first + part, total);
}

constexpr int kGatherThreads = 128;

// How gather_rows reads one weight of a packed group.
template <class L>
struct BlockReader {
  __device__ static float read(const unsigned char* group, int k, int row) {
    return weight_at<L>(group, k, row);
  }
};
template <class F>
struct PlainReader {
  __device__ static float read(const unsigned char* group, int k, int row) {
    return plain_weight_at<F>(group, k, row);
  }
};

// x[i] = row tokens[i] of the embedding, exact. Grid (rows).
template <class Reader>
__global__ void gather_rows(const unsigned char* data, std::size_t group_bytes, int columns,
                            const int* tokens, float* x) {
  const int token = tokens[blockIdx.x];
  const unsigned char* group = data + static_cast<std::size_t>(token / 16) * group_bytes;
  for (int c = threadIdx.x; c < columns; c += blockDim.x)
    x[static_cast<std::size_t>(blockIdx.x) * columns + c] = Reader::read(group, c, token % 16);
}

}  // namespace troupe::cuda::TROUPE_CUDA_SIDE
