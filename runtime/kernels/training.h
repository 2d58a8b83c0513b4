#pragma once

#include <cstddef>

#include <troupe/runtime/kernels/isa.h>
#include <troupe/runtime/kernels/packed_matrix.h>
#include <troupe/runtime/kernels/sum_steps.h>

// The training kernels that exist for each CPU target: the backward passes of matrix products,
// attention and activations. As in kernels.h, every target gives the same bits, and a kernel never
// splits work, allocates or locks. Code that needs no wide vectors is in norm_backward.h,
// column_sums.h and update.h. Called by model/training.
//
// The gradient of a product's input needs no kernel of its own: it is a product with the transposed
// matrix (transposed.h), by Kernels::matmul.

namespace troupe::kernels {

// The positions of one example in one layer. T is their number; R is the number of query rows,
// which are the first R of them. H, K and D as in kernels.h.
struct AttentionBackwardArgs {
  const float* q = nullptr;     // (R, H*D): as the forward pass multiplied them
  const float* out = nullptr;   // (R, H*D): the result of the forward pass
  const float* dout = nullptr;  // (R, H*D): the gradient of `out`
  float* dq = nullptr;          // (R, H*D)
  // (T, H*D): the gradients of keys and values, for each query head apart; the caller adds those of
  // the query heads that share a key head.
  float* dk = nullptr;
  float* dv = nullptr;
  const std::byte* const* pages = nullptr;  // [p] is page p of the example, in KvType::kF32
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
  std::size_t count = 0, rows = 0;  // T, R
  float scale = 1.0f;
  std::size_t window = 0;      // as AttentionArgs
  bool bidirectional = false;  // every row sees all T keys
};

// The number of outputs that weight_gradient takes at once.
constexpr std::size_t kGradientOutputs = 64;

struct TrainingKernels {
  Isa isa;
  std::size_t panel_columns;  // of the panels that pack_panels makes
  // Copies columns of x (rows, columns) into panels [panel_begin, panel_end) of `panel_columns`
  // columns each: out + panel * rows * panel_columns is (rows, panel_columns), padded with zeros.
  void (*pack_panels)(const float* x, std::size_t rows, std::size_t columns,
                      std::size_t panel_begin, std::size_t panel_end, float* out);
  // dW = sum over rows of dy[row] (outer) x[row], for groups [group_begin, group_end) of dW.
  //   panels   all panels of x (rows, columns); dy (rows, outputs) dense
  //   sum      the shape of the sum. Its stack lies as a PackedMatrix of kF32: (outputs, columns).
  //   scratch  rows * kGradientOutputs floats
  void (*weight_gradient)(const float* panels, std::size_t columns, const float* dy,
                          std::size_t rows, std::size_t outputs, const GradientSum& sum,
                          std::size_t group_begin, std::size_t group_end, float* scratch);
  // Computes the gradients of attention for heads [head_begin, head_end). Probabilities are
  // computed anew:
  //   s_j as in Kernels::attention; p_j = exp(s_j - largest) / sum of them (16 partial sums)
  //   dp_j = dout . v_j in channel order, cut as scores are; d = dout . out (16 partial sums by
  //   channel) ds_j = p_j (dp_j - d) scale dq = sum of ds_j k_j in key order, cut at kSumKeys dk_j
  //   = sum of ds_j q over the rows in order, dv_j = sum of p_j dout; both cut at 256 rows scratch:
  //   attention_backward_scratch_floats
  void (*attention_backward)(const AttentionBackwardArgs& args, std::size_t head_begin,
                             std::size_t head_end, float* scratch);
  // h = silu(gate) * up, bit for bit as Kernels::silu_mul gives it, and the gradients of gate and
  // up from that of h. An output may alias any input.
  void (*silu_mul_backward)(const float* gate, const float* up, const float* dh, float* h,
                            float* dgate, float* dup, std::size_t count);
  // h = gelu(x), bit for bit as the forward kernel gives it, and dx from dh. An output may
  // alias any input.
  void (*gelu_tanh_backward)(const float* x, const float* dh, float* h, float* dx,
                             std::size_t count);
  void (*gelu_erf_backward)(const float* x, const float* dh, float* h, float* dx,
                            std::size_t count);
};

// The number of rows that attention_backward takes at once, and the number after which its sums
// over rows are cut.
constexpr std::size_t kBackwardRows = 32;
constexpr std::size_t kBackwardCut = 256;
// The keys that any of the kBackwardRows rows from `row` on sees. The sums over keys and rows run
// over all of them, with a probability of 0 if a row does not see a key.
struct BackwardKeys {
  std::size_t begin, end;  // `begin` is a multiple of 16
};
inline BackwardKeys backward_keys(const AttentionBackwardArgs& args, std::size_t row) {
  const std::size_t past = row + kBackwardRows < args.rows ? row + kBackwardRows : args.rows;
  const std::size_t last = args.bidirectional ? args.count - 1 : row;
  const std::size_t first = args.window != 0 && last + 1 > args.window ? last + 1 - args.window : 0;
  return {first / 16 * 16, args.bidirectional ? args.count : past};
}

}  // namespace troupe::kernels
