#pragma once

#include <algorithm>
#include <cstddef>

#include <troupe/runtime/kernels/activations.h>
#include <troupe/runtime/kernels/isa.h>
#include <troupe/runtime/kernels/kv_page.h>
#include <troupe/runtime/kernels/packed_matrix.h>

// The table of compute kernels: one struct of function pointers a CPU target, the same bits from
// each. Kernels never split work, allocate or lock: the caller hands each thread a range of
// outputs. Shapes are in elements. Called by model/transformer through runtime/device.
//
// The lane rule (why the bits are equal): vector lanes run over independent outputs; a reduction
// runs in index order, or over exactly 16 partial sums (element i goes to i mod 16) and one fixed
// tree: ((0+8)+(4+12)) ... i.e. halves are added 8, 4, 2, 1 apart. Long sums are cut where
// kSumColumns and kSumKeys say. Only fma, sqrt and division are used; exp is a function of our own.
// No kernel calls libm.

namespace troupe::kernels {

constexpr std::size_t kSumKeys = 256;  // the sum over values is cut here, then added in order
// Products of F32, F16 and BF16 weights, and the scores of attention, are cut at multiples of this
// many columns or channels: each chunk is summed from 0, the first chunk's sum is the total, and
// later ones are added to it in order. A GPU can then compute a row's chunks side by side.
constexpr std::size_t kSumColumns = 256;

struct AttentionArgs {
  const float* q = nullptr;  // row r: q + r * q_stride, heads of head_dim side by side
  std::size_t q_stride = 0;
  float* out = nullptr;  // same layout as q, which it must not alias
  std::size_t out_stride = 0;
  const std::byte* const* pages = nullptr;  // page p of this sequence and layer
  KvType kv_type = KvType::kF16;
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1.0f;
  float cap = 0.0f;  // not 0: a scaled score s becomes cap * tanh(s / cap)
  // Null, or (heads): for each head, a score that takes part in its softmax but has no value.
  const float* sinks = nullptr;
  std::size_t position = 0;  // absolute position of row 0; row r sees keys [lo, position + r]
  std::size_t window = 0;    // 0: lo = 0; else lo = max(0, position + r + 1 - window)
  // If it is not 0, it is the number of keys, and row r also sees those after it, as in an encoder:
  // all, or the window - 1 next ones.
  std::size_t bidirectional_keys = 0;
  // If not null, (heads, 2 * relative_reach + 1) values that are added to scaled and capped scores:
  // for key j and row r, the value at relative_reach + (j - (position + r)), where the distance is
  // clamped to the reach.
  const float* relative = nullptr;
  std::size_t relative_reach = 0;

  // These return the first and the last key that row r sees.
  std::size_t first_key(std::size_t row) const {
    return window != 0 && position + row + 1 > window ? position + row + 1 - window : 0;
  }
  std::size_t last_key(std::size_t row) const {
    if (bidirectional_keys == 0) return position + row;
    const std::size_t next = position + row + window;  // the first key behind the window
    return window == 0 || next > bidirectional_keys ? bidirectional_keys - 1 : next - 1;
  }
  // Returns the value that is added to the score of `key`. It lies beside those of the other keys
  // within the reach.
  float relative_bias(std::size_t head, std::size_t row, std::size_t key) const {
    const std::size_t at = position + row;
    const std::size_t place = key >= at ? relative_reach + std::min(key - at, relative_reach)
                                        : relative_reach - std::min(at - key, relative_reach);
    return relative[head * (2 * relative_reach + 1) + place];
  }
};

struct Kernels {
  Isa isa;
  // Quantizes rows [row_begin, row_end) of x (B,K) into the blocks that `out` has memory for; K is
  // a multiple of them.
  void (*quantize_rows)(const float* x, std::size_t columns, std::size_t row_begin,
                        std::size_t row_end, QuantizedRows out);
  // out = W x, or out += W x when `accumulate`: out[b * out_stride + r] from W[r] . x[b].
  //   For all b in [0, x.rows) and the rows r of groups [group_begin, group_end); rows past w.rows
  //   are not written. The sum of a row is formed alone, from 0, then added once if `accumulate`;
  //   of F32, F16 and BF16 weights it is cut at kSumColumns.
  void (*matmul)(const PackedMatrix& w, const Activations& x, std::size_t group_begin,
                 std::size_t group_end, float* out, std::size_t out_stride, bool accumulate);
  // out = x / sqrt(mean(x^2) + eps) * weight for rows [row_begin, row_end); x, out (B,C) dense.
  //   out may alias x. Source: Zhang & Sennrich 2019, eq. 4.
  void (*rms_norm)(const float* x, const float* weight, float eps, std::size_t channels,
                   std::size_t row_begin, std::size_t row_end, float* out);
  // out = (x - mean) / sqrt(mean((x - mean)^2) + eps) * weight + bias for rows [row_begin,
  // row_end);
  //   x, out (B,C) dense. out may alias x. Source: Ba et al. 2016, eq. 4.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps,
                     std::size_t channels, std::size_t row_begin, std::size_t row_end, float* out);
  // Rotates `heads` heads of head_dim at x in place. cos_sin: (rotary_dim/2, 2) f32 of this
  // position. interleaved: pairs (2i, 2i+1); else NeoX: (i, i + rotary_dim/2).
  void (*rope)(float* x, std::size_t heads, std::size_t head_dim, std::size_t rotary_dim,
               const float* cos_sin, bool interleaved);
  // Stores k and v (kv_heads * head_dim, f32) of one position into its page, rounding to the type.
  void (*kv_write)(const float* k, const float* v, std::byte* page, KvType type,
                   std::size_t kv_heads, std::size_t head_dim, std::size_t key_in_page);
  // Computes rows [row_begin, row_end) of heads [head_begin, head_end). scratch:
  // attention_scratch_floats.
  //   score_j = (q . k_j in channel order, cut at kSumColumns) * scale, capped, plus what
  //   args.relative adds; softmax over j with
  //   16 partial sums by absolute key position; out = sum of p_j v_j in key order, cut at kSumKeys,
  //   divided by the sum last.
  void (*attention)(const AttentionArgs& args, std::size_t head_begin, std::size_t head_end,
                    std::size_t row_begin, std::size_t row_end, float* scratch);
  // gate[i] = silu(gate[i]) * up[i] for i in [0, count). silu(x) = x / (1 + exp(-x)).
  void (*silu_mul)(float* gate, const float* up, std::size_t count);
  // x[i] = gelu(x[i]) for i in [0, count): by tanh x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))),
  // by
  //   erf x/2 (1 + erf(x / sqrt(2))). Source: Hendrycks & Gimpel 2016.
  void (*gelu_tanh)(float* x, std::size_t count);
  void (*gelu_erf)(float* x, std::size_t count);
  // out[i] = tanh(x[i]) by a function of our own, within 3 ulp. out may alias x.
  void (*tanh)(const float* x, float* out, std::size_t count);
  // out[i] = exp(x[i]) by a function of our own, within 2 ulp of the true value on [-87, 88],
  // clamped outside.
  void (*exp)(const float* x, float* out, std::size_t count);
};

}  // namespace troupe::kernels
