// The training kernels of the vector targets. Compiled once for each target.
//
// All products here are made of one tile: kTileRows rows of A, broadcast, times sixteen columns of
// B, one a lane, over k in order. There are as many chains as registers can hold, which hides the
// latency of an FMA; a chain may pause in memory, which changes no bit.

#include <algorithm>
#include <cstring>
#include <limits>

#include <troupe/runtime/kernels/kernels.h>
#include <troupe/runtime/kernels/training.h>
#include <troupe/runtime/kernels/training_targets.h>

#ifndef TROUPE_KERNEL_GROUP
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE <troupe/runtime/kernels/vector/training.cpp>
#endif
#include <troupe/runtime/kernels/vector/foreach_target.h>

#if TROUPE_VECTOR_TARGET
#include <troupe/runtime/kernels/vector/simd-inl.h>
#include <troupe/runtime/numerics/derivatives.h>
#include <troupe/runtime/numerics/elementary.h>

HWY_BEFORE_NAMESPACE();
namespace troupe::kernels::HWY_NAMESPACE {
namespace {

constexpr std::size_t kTileRows = 12 / kParts;
static_assert(kTileRows == (HWY_TARGET == HWY_AVX2 ? 6 : 12));

// The places of matrices: element (i, k) of A at a + i * row + k * step, and column j of row k of B
// at b + k * step + j / 16 * apart + j % 16.
struct A {
  const float* at;
  std::size_t row, step;
};
struct B {
  const float* at;
  std::size_t step, apart = 16;
};

// sums[i][v] += A (M rows) times V vectors of columns of B, over `depth` values of k.
template <std::size_t M, std::size_t V>
HWY_INLINE void add_products(A a, B b, std::size_t depth, Floats (&sums)[M][V]) {
  const float* from = a.at;
  for (std::size_t k = 0; k < depth; ++k, from += a.step, b.at += b.step) {
    Floats columns[V];
    for (std::size_t v = 0; v < V; ++v)
      columns[v] = hn::LoadU(kFloat, b.at + v / kParts * b.apart + v % kParts * kLanes);
    for (std::size_t i = 0; i < M; ++i) {
      const Floats value = hn::Set(kFloat, from[i * a.row]);
      for (std::size_t v = 0; v < V; ++v) sums[i][v] = hn::MulAdd(value, columns[v], sums[i][v]);
    }
  }
}

// Groups of sixteen columns in a wide tile: two if there are registers for their sums, because each
// value of A is then loaded half as often.
constexpr std::size_t kTileGroups = kParts == 1 ? 2 : 1;

enum class Put { kStore, kAdd, kContinue };  // C = AB, C += AB, or the chains of C go on

template <Put kPut, std::size_t M, std::size_t kGroups>
HWY_INLINE void product_tile(A a, B b, std::size_t depth, float* c, std::size_t c_row) {
  constexpr std::size_t kVectors = kGroups * kParts;
  Floats sums[M][kVectors];
  for (std::size_t i = 0; i < M; ++i)
    for (std::size_t v = 0; v < kVectors; ++v)
      sums[i][v] =
          kPut == Put::kContinue ? hn::LoadU(kFloat, c + i * c_row + v * kLanes) : hn::Zero(kFloat);
  add_products(a, b, depth, sums);
  for (std::size_t i = 0; i < M; ++i)
    for (std::size_t v = 0; v < kVectors; ++v) {
      float* to = c + i * c_row + v * kLanes;
      if (kPut == Put::kAdd) sums[i][v] = hn::Add(hn::LoadU(kFloat, to), sums[i][v]);
      hn::StoreU(sums[i][v], kFloat, to);
    }
}

// Computes C (rows, 16 * kGroups) from A (rows, depth) and B (depth, 16 * kGroups).
template <Put kPut, std::size_t kGroups>
void product_columns(A a, B b, std::size_t rows, std::size_t depth, float* c, std::size_t c_row) {
  std::size_t i = 0;
  for (; i + kTileRows <= rows; i += kTileRows)
    product_tile<kPut, kTileRows, kGroups>({a.at + i * a.row, a.row, a.step}, b, depth,
                                           c + i * c_row, c_row);
  for (; i + 2 <= rows; i += 2)
    product_tile<kPut, 2, kGroups>({a.at + i * a.row, a.row, a.step}, b, depth, c + i * c_row,
                                   c_row);
  if (i < rows)
    product_tile<kPut, 1, kGroups>({a.at + i * a.row, a.row, a.step}, b, depth, c + i * c_row,
                                   c_row);
}

// Does the same, cut at multiples of kSumColumns of k.
template <std::size_t kGroups>
void cut_product(A a, B b, std::size_t rows, std::size_t depth, float* c, std::size_t c_row) {
  product_columns<Put::kStore, kGroups>(a, b, rows, std::min(depth, kSumColumns), c, c_row);
  for (std::size_t k = kSumColumns; k < depth; k += kSumColumns)
    product_columns<Put::kAdd, kGroups>({a.at + k * a.step, a.row, a.step},
                                        {b.at + k * b.step, b.step, b.apart}, rows,
                                        std::min(kSumColumns, depth - k), c, c_row);
}

// Computes one tile of a weight gradient: run_sum for kTileRows columns of x and kGroups * 16
// outputs. `dy`: (rows, kGroups * 16); `offset`: where the tile's first group lies, `apart` the
// others.
template <std::size_t kGroups>
HWY_INLINE void gradient_tile(const float* panel, const float* dy, const GradientSum& sum,
                              std::size_t offset, std::size_t apart, std::size_t columns) {
  constexpr std::size_t kVectors = kGroups * kParts, kFloats = kTileRows * 16;
  const auto at = [](std::size_t i, std::size_t v) {
    return v / kParts * kFloats + i * 16 + v % kParts * kLanes;
  };
  alignas(64) float stack[kSumStackMax][kGroups * kFloats];
  std::size_t depth = sum.depth_in;
  for (std::size_t i = 0; i < kSumStackMax && i < depth; ++i)
    for (std::size_t g = 0; g < kGroups; ++g)
      std::memcpy(stack[i] + g * kFloats, sum.stack[i] + offset + g * apart,
                  columns * 16 * sizeof(float));
  for (const SumStep& step : sum.steps) {
    Floats sums[kTileRows][kVectors];
    for (std::size_t i = 0; i < kTileRows; ++i)
      for (std::size_t v = 0; v < kVectors; ++v) sums[i][v] = hn::Zero(kFloat);
    add_products({panel + step.begin * kTileRows, 1, kTileRows},
                 {dy + step.begin * kGroups * 16, kGroups * 16}, step.end - step.begin, sums);
    float* to = stack[step.adds ? depth - 1 : depth];
    for (std::size_t i = 0; i < kTileRows; ++i)
      for (std::size_t v = 0; v < kVectors; ++v) {
        if (step.adds) sums[i][v] = hn::Add(hn::Load(kFloat, to + at(i, v)), sums[i][v]);
        hn::Store(sums[i][v], kFloat, to + at(i, v));
      }
    depth += step.adds ? 0 : 1;
    for (std::uint32_t merge = 0; merge < step.merges; ++merge, --depth)
      for (std::size_t i = 0; i < kGroups * kFloats; i += kLanes)
        hn::Store(
            hn::Add(hn::Load(kFloat, stack[depth - 2] + i), hn::Load(kFloat, stack[depth - 1] + i)),
            kFloat, stack[depth - 2] + i);
  }
  for (std::size_t i = 0; i < kSumStackMax && i < depth; ++i)
    for (std::size_t g = 0; g < kGroups; ++g)
      std::memcpy(sum.stack[i] + offset + g * apart, stack[i] + g * kFloats,
                  columns * 16 * sizeof(float));
}

// Copies a head's part of (T, H*D) rows to (T, padded D), with zeros after the channels.
void copy_head(const float* from, std::size_t width, std::size_t head_dim, std::size_t count,
               float* to) {
  const std::size_t padded_dim = (head_dim + 15) / 16 * 16;
  for (std::size_t row = 0; row < count; ++row, to += padded_dim) {
    std::memcpy(to, from + row * width, head_dim * sizeof(float));
    std::fill(to + head_dim, to + padded_dim, 0.0f);
  }
}

// The arrays of attention_backward for one head, all of which lie in its scratch.
struct HeadBackward {
  const AttentionBackwardArgs& args;
  const std::size_t head, dim, padded_dim, count, padded_count, width, column, kv_head;
  float *q, *dout, *keys, *values_t, *dk, *dv;  // (T, padded D); values_t: [T / 16][D][16]
  float *p, *ds, *dq;                           // (kBackwardRows, padded T); dq: padded D

  HeadBackward(const AttentionBackwardArgs& a, std::size_t h, float* scratch)
      : args(a),
        head(h),
        dim(a.head_dim),
        padded_dim((a.head_dim + 15) / 16 * 16),
        count(a.count),
        padded_count((a.count + 15) / 16 * 16),
        width(a.heads * a.head_dim),
        column(h * a.head_dim),
        kv_head(h / (a.heads / a.kv_heads)) {
    const auto take = [&](std::size_t floats) {
      float* here = scratch;
      scratch += floats;
      return here;
    };
    for (float** array : {&q, &dout, &keys, &values_t, &dk, &dv})
      *array = take(padded_count * padded_dim);
    p = take(kBackwardRows * padded_count);
    ds = take(kBackwardRows * padded_count);
    dq = take(kBackwardRows * padded_dim);
  }

  const float* page(std::size_t key) const {
    return reinterpret_cast<const float*>(args.pages[key / kPageKeys]);
  }
  // [channel][16] of the 16 keys from `key` on.
  const float* keys_t(std::size_t key) const {
    const std::size_t block = kv_head * (kPageKeys / kKeyBlock) + key % kPageKeys / kKeyBlock;
    return page(key) + block * dim * kKeyBlock;
  }

  void load() {
    copy_head(args.q + column, width, dim, args.rows, q);
    copy_head(args.dout + column, width, dim, args.rows, dout);
    std::fill_n(keys, padded_count * padded_dim, 0.0f);
    for (std::size_t key = 0; key < padded_count; key += 16) {
      const float* block = keys_t(key);
      for (std::size_t c = 0; c < dim; ++c)
        for (std::size_t j = 0; j < 16; ++j) keys[(key + j) * padded_dim + c] = block[c * 16 + j];
      float* to = values_t + key * dim;
      const float* from =
          page(key) + ((args.kv_heads + kv_head) * kPageKeys + key % kPageKeys) * dim;
      for (std::size_t c = 0; c < dim; ++c)
        for (std::size_t j = 0; j < 16; ++j) to[c * 16 + j] = from[j * dim + c];
    }
    std::fill_n(dk, padded_count * padded_dim, 0.0f);
    std::fill_n(dv, padded_count * padded_dim, 0.0f);
  }

  // Computes p and ds of row `row`, which lies in row `i` of the block, from scores and dp.
  void finish_row(std::size_t row, std::size_t i, BackwardKeys block) {
    const std::size_t last = args.bidirectional ? count - 1 : row;
    const std::size_t first =
        args.window != 0 && last + 1 > args.window ? last + 1 - args.window : 0;
    float *probabilities = p + i * padded_count, *gradients = ds + i * padded_count;
    const std::size_t begin = first / 16 * 16, end = (last / 16 + 1) * 16;
    const Floats scales = hn::Set(kFloat, args.scale);
    float largest = -std::numeric_limits<float>::infinity();
    for (std::size_t j = begin; j < end; j += kLanes)
      hn::StoreU(hn::Mul(hn::LoadU(kFloat, probabilities + j), scales), kFloat, probabilities + j);
    for (std::size_t j = first; j <= last; ++j)
      largest = probabilities[j] > largest ? probabilities[j] : largest;
    const Floats top = hn::Set(kFloat, largest);
    for (std::size_t j = begin; j < end; j += kLanes)
      hn::StoreU(exp_lanes(hn::Sub(hn::LoadU(kFloat, probabilities + j), top)), kFloat,
                 probabilities + j);
    const std::size_t block_end = (block.end + 15) / 16 * 16;
    std::fill(probabilities + block.begin, probabilities + first, 0.0f);
    std::fill(probabilities + last + 1, probabilities + block_end, 0.0f);
    Floats partial[kParts], products[kParts];
    for (std::size_t h = 0; h < kParts; ++h) partial[h] = products[h] = hn::Zero(kFloat);
    for (std::size_t j = begin; j < end; j += 16)
      for (std::size_t h = 0; h < kParts; ++h)
        partial[h] = hn::Add(partial[h], hn::LoadU(kFloat, probabilities + j + h * kLanes));
    alignas(64) float out[16];
    const float* from = args.out + row * width + column;
    for (std::size_t c = 0; c < dim; c += 16) {
      const std::size_t present = std::min<std::size_t>(16, dim - c);
      std::fill_n(out, 16, 0.0f);
      std::copy_n(from + c, present, out);
      for (std::size_t h = 0; h < kParts; ++h)
        products[h] = hn::MulAdd(hn::LoadU(kFloat, dout + row * padded_dim + c + h * kLanes),
                                 hn::Load(kFloat, out + h * kLanes), products[h]);
    }
    const Floats total = hn::Set(kFloat, tree_sum(partial));
    const Floats d = hn::Set(kFloat, tree_sum(products));
    for (std::size_t j = begin; j < end; j += kLanes) {
      const Floats value = hn::Div(hn::LoadU(kFloat, probabilities + j), total);
      const Floats dp = hn::LoadU(kFloat, gradients + j);
      hn::StoreU(value, kFloat, probabilities + j);
      hn::StoreU(hn::Mul(hn::Mul(value, hn::Sub(dp, d)), scales), kFloat, gradients + j);
    }
    std::fill(gradients + block.begin, gradients + first, 0.0f);
    std::fill(gradients + last + 1, gradients + block_end, 0.0f);
  }

  // Computes the scores and dp of kGroups * 16 keys from `key` on, which lie in one page.
  template <std::size_t kGroups>
  void score(std::size_t row, std::size_t rows, std::size_t key) {
    cut_product<kGroups>({q + row * padded_dim, padded_dim, 1}, {keys_t(key), 16, dim * kKeyBlock},
                         rows, dim, p + key, padded_count);
    cut_product<kGroups>({dout + row * padded_dim, padded_dim, 1},
                         {values_t + key * dim, 16, dim * 16}, rows, dim, ds + key, padded_count);
  }

  // Computes dq, dk and dv of kGroups * 16 channels from c on.
  template <std::size_t kGroups>
  void add_gradients(std::size_t row, std::size_t rows, BackwardKeys block, std::size_t c) {
    for (std::size_t key = block.begin; key < block.end;) {
      const std::size_t cut = std::min(block.end, (key / kSumKeys + 1) * kSumKeys);
      const A a{ds + key, padded_count, 1};
      const B b{keys + key * padded_dim + c, padded_dim};
      if (key == block.begin) {
        product_columns<Put::kStore, kGroups>(a, b, rows, cut - key, dq + c, padded_dim);
      } else {
        product_columns<Put::kAdd, kGroups>(a, b, rows, cut - key, dq + c, padded_dim);
      }
      key = cut;
    }
    const std::size_t keys_seen = block.end - block.begin;
    const std::size_t to = block.begin * padded_dim + c;
    product_columns<Put::kContinue, kGroups>({ds + block.begin, 1, padded_count},
                                             {q + row * padded_dim + c, padded_dim}, keys_seen,
                                             rows, dk + to, padded_dim);
    product_columns<Put::kContinue, kGroups>({p + block.begin, 1, padded_count},
                                             {dout + row * padded_dim + c, padded_dim}, keys_seen,
                                             rows, dv + to, padded_dim);
  }

  // Computes rows [row, row + rows), at most kBackwardRows of them.
  void run_rows(std::size_t row, std::size_t rows) {
    constexpr std::size_t kWide = kTileGroups * 16;
    static_assert(kPageKeys % kWide == 0);
    const BackwardKeys block = backward_keys(args, row);
    for (std::size_t key = block.begin; key < block.end;) {
      const bool is_wide = key % kWide == 0 && key + kWide <= block.end;
      if (is_wide) {
        score<kTileGroups>(row, rows, key);
      } else {
        score<1>(row, rows, key);
      }
      key += is_wide ? kWide : 16;
    }
    for (std::size_t i = 0; i < rows; ++i) finish_row(row + i, i, block);
    for (std::size_t c = 0; c < dim;) {
      const bool is_wide = c + kWide <= padded_dim;
      if (is_wide) {
        add_gradients<kTileGroups>(row, rows, block, c);
      } else {
        add_gradients<1>(row, rows, block, c);
      }
      c += is_wide ? kWide : 16;
    }
    for (std::size_t i = 0; i < rows; ++i)
      std::memcpy(args.dq + (row + i) * width + column, dq + i * padded_dim, dim * sizeof(float));
  }

  // Moves the sums over rows since the last cut to the results.
  void cut_rows(bool is_first) {
    for (std::size_t key = 0; key < count; ++key)
      for (std::size_t c = 0; c < dim; ++c) {
        const std::size_t to = key * width + column + c, from = key * padded_dim + c;
        args.dk[to] = is_first ? dk[from] : args.dk[to] + dk[from];
        args.dv[to] = is_first ? dv[from] : args.dv[to] + dv[from];
      }
    std::fill_n(dk, padded_count * padded_dim, 0.0f);
    std::fill_n(dv, padded_count * padded_dim, 0.0f);
  }
};

}  // namespace

void pack_panels(const float* x, std::size_t rows, std::size_t columns, std::size_t panel_begin,
                 std::size_t panel_end, float* out) {
  for (std::size_t panel = panel_begin; panel < panel_end; ++panel) {
    const std::size_t first = panel * kTileRows;
    const std::size_t present = std::min(kTileRows, columns - first);
    float* to = out + panel * rows * kTileRows;
    const float* from = x + first;
    if (present == kTileRows) {
      for (std::size_t row = 0; row < rows; ++row, to += kTileRows, from += columns)
        std::memcpy(to, from, kTileRows * sizeof(float));
      continue;
    }
    for (std::size_t row = 0; row < rows; ++row, to += kTileRows, from += columns)
      for (std::size_t i = 0; i < kTileRows; ++i) to[i] = i < present ? from[i] : 0.0f;
  }
}

namespace {

// Copies outputs [first, first + wide) of dy (rows, outputs) to (rows, wide), padded with zeros.
void pack_outputs(const float* dy, std::size_t rows, std::size_t outputs, std::size_t first,
                  std::size_t wide, float* out) {
  const std::size_t present = std::min(wide, outputs - first);
  for (std::size_t row = 0; row < rows; ++row, out += wide) {
    std::memcpy(out, dy + row * outputs + first, present * sizeof(float));
    std::fill(out + present, out + wide, 0.0f);
  }
}

}  // namespace

// Computes a weight gradient in passes of kGradientOutputs outputs, whose gradients stay in the
// second-level cache while the panels are read.
void weight_gradient(const float* panels, std::size_t columns, const float* dy, std::size_t rows,
                     std::size_t outputs, const GradientSum& sum, std::size_t group_begin,
                     std::size_t group_end, float* scratch) {
  constexpr std::size_t kPassGroups = kGradientOutputs / 16;
  static_assert(kPassGroups % kTileGroups == 0);
  const std::size_t apart = columns * 16;
  for (std::size_t begin = group_begin; begin < group_end; begin += kPassGroups) {
    const std::size_t end = std::min(group_end, begin + kPassGroups);
    for (std::size_t group = begin; group < end; group += kTileGroups)
      pack_outputs(dy, rows, outputs, group * 16, std::min(kTileGroups, end - group) * 16,
                   scratch + (group - begin) * 16 * rows);
    for (std::size_t column = 0; column < columns; column += kTileRows) {
      const std::size_t present = std::min(kTileRows, columns - column);
      for (std::size_t group = begin; group < end; group += kTileGroups) {
        const float* packed = scratch + (group - begin) * 16 * rows;
        const std::size_t offset = (group * columns + column) * 16;
        if (group + kTileGroups <= end) {
          gradient_tile<kTileGroups>(panels + column * rows, packed, sum, offset, apart, present);
        } else {
          gradient_tile<1>(panels + column * rows, packed, sum, offset, apart, present);
        }
      }
    }
  }
}

void attention_backward(const AttentionBackwardArgs& args, std::size_t head_begin,
                        std::size_t head_end, float* scratch) {
  for (std::size_t head = head_begin; head < head_end; ++head) {
    HeadBackward work(args, head, scratch);
    work.load();
    for (std::size_t row = 0; row < args.rows; row += kBackwardRows) {
      const std::size_t end = std::min(args.rows, row + kBackwardRows);
      work.run_rows(row, end - row);
      if (end % kBackwardCut == 0 || end == args.rows) work.cut_rows(row < kBackwardCut);
    }
  }
}

void silu_mul_backward(const float* gate, const float* up, const float* dh, float* h, float* dgate,
                       float* dup, std::size_t count) {
  const Floats one = hn::Set(kFloat, 1.0f);
  const std::size_t whole = count / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    const Floats g = hn::LoadU(kFloat, gate + i), u = hn::LoadU(kFloat, up + i);
    const Floats gradient = hn::LoadU(kFloat, dh + i);
    const Floats bottom = hn::Add(one, exp_lanes(hn::Neg(g)));
    const Floats activated = hn::Div(g, bottom), s = hn::Div(one, bottom);
    const Floats slope = hn::Mul(s, hn::MulAdd(g, hn::Sub(one, s), one));
    hn::StoreU(hn::Mul(activated, u), kFloat, h + i);
    hn::StoreU(hn::Mul(hn::Mul(gradient, u), slope), kFloat, dgate + i);
    hn::StoreU(hn::Mul(gradient, activated), kFloat, dup + i);
  }
  for (std::size_t i = whole; i < count; ++i) {
    const float g = gate[i], u = up[i], gradient = dh[i];
    const float bottom = 1.0f + exp_bits(-g), activated = g / bottom;
    h[i] = activated * u;
    dgate[i] = gradient * u * silu_slope_bits(g, 1.0f / bottom);
    dup[i] = gradient * activated;
  }
}

void gelu_tanh_backward(const float* x, const float* dh, float* h, float* dx, std::size_t count) {
  const Floats half = hn::Set(kFloat, 0.5f), one = hn::Set(kFloat, 1.0f);
  const Floats root = hn::Set(kFloat, 0.79788456f);
  const std::size_t whole = count / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    const Floats v = hn::LoadU(kFloat, x + i), square = hn::Mul(v, v);
    const Floats inner = hn::MulAdd(hn::Mul(square, hn::Set(kFloat, 0.044715f)), v, v);
    const Floats t = tanh_lanes(hn::Mul(root, inner));
    const Floats slope = hn::Mul(root, hn::MulAdd(square, hn::Set(kFloat, 0.134145f), one));
    const Floats rest = hn::Mul(hn::Mul(hn::Mul(half, v), hn::MulAdd(hn::Neg(t), t, one)), slope);
    const Floats gradient = hn::LoadU(kFloat, dh + i);
    hn::StoreU(gelu_tanh_lanes(v), kFloat, h + i);
    hn::StoreU(hn::Mul(gradient, hn::Add(hn::MulAdd(half, t, half), rest)), kFloat, dx + i);
  }
  for (std::size_t i = whole; i < count; ++i) {
    const float value = x[i];  // read first, because h may be the same array as x
    dx[i] = dh[i] * gelu_tanh_slope_bits(value);
    h[i] = gelu_tanh_bits(value);
  }
}

void gelu_erf_backward(const float* x, const float* dh, float* h, float* dx, std::size_t count) {
  const Floats half = hn::Set(kFloat, 0.5f);
  const std::size_t whole = count / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) {
    const Floats v = hn::LoadU(kFloat, x + i);
    const Floats area = hn::MulAdd(half, erf_lanes(hn::Mul(v, hn::Set(kFloat, 0.70710678f))), half);
    const Floats bell = exp_lanes(hn::Mul(hn::Mul(v, v), hn::Set(kFloat, -0.5f)));
    const Floats slope = hn::MulAdd(hn::Mul(v, hn::Set(kFloat, 0.39894228f)), bell, area);
    const Floats gradient = hn::LoadU(kFloat, dh + i);
    hn::StoreU(gelu_erf_lanes(v), kFloat, h + i);
    hn::StoreU(hn::Mul(gradient, slope), kFloat, dx + i);
  }
  for (std::size_t i = whole; i < count; ++i) {
    const float value = x[i];  // read first, because h may be the same array as x
    dx[i] = dh[i] * gelu_erf_slope_bits(value);
    h[i] = gelu_erf_bits(value);
  }
}

}  // namespace troupe::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // TROUPE_VECTOR_TARGET
