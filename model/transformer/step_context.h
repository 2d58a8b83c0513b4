#pragma once

#include <atomic>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include <troupe/model/transformer/expert_plan.h>
#include <troupe/model/transformer/kv_cache.h>
#include <troupe/model/transformer/relative_bias.h>
#include <troupe/model/transformer/rope_table.h>
#include <troupe/model/transformer/step_checks.h>
#include <troupe/model/transformer/weights.h>
#include <troupe/runtime/machine/aligned_buffer.h>

// One step of a stage as its layers see it: rows of several sequences, their pages of keys and
// values, the memory to work in, and the operations that a layer consists of (block.cpp). All
// threads of the pool run the same code (SPMD). Memory is sized between steps, never inside one.
//
// A step runs in one of two orders, chosen by the number of rows. Both give the same bits:
//   by groups   few rows: each phase splits the row groups of a weight matrix over the
//               threads, with a barrier between phases, because reading the weights takes the time
//   by rows     many rows: a thread takes a tile of rows through a whole layer alone, in
//               memory that fits its cache; there is one barrier a layer, for keys and values
//
// B is the number of rows of the step, C of channels, H of heads, K of key/value heads, D of
// channels of a head, F of channels of the feed-forward network.

namespace troupe::model {

// Rows in f32, plus their int8 quantization for quantized weights.
struct RowBuffer {
  float* values = nullptr;
  kernels::QuantizedRows quantized;
};

// The memory for the intermediate values of some rows.
struct Workspace {
  RowBuffer normed;     // (rows, C)
  RowBuffer attended;   // (rows, H*D)
  RowBuffer gate;       // (rows, F)
  float* up = nullptr;  // (rows, F)
  // What `gate` is, for layers of a mixture that have no experts: their F differs.
  RowBuffer dense_gate;
  float* dense_up = nullptr;
  float* k = nullptr;       // (rows, K*D)
  float* v = nullptr;       // (rows, K*D)
  float* output = nullptr;  // (rows, C): a sublayer's output, if it waits before it is added to x
  // A mixture of E experts, of which a row goes through U, each of G channels: the router's logits,
  // and the experts' rows. A shared expert uses gate and up.
  float* router = nullptr;        // (rows, E)
  RowBuffer expert_gate;          // (rows * U, G)
  float* expert_up = nullptr;     // (rows * U, G)
  float* expert_out = nullptr;    // (rows * U, C)
  float* shared_scale = nullptr;  // (rows)
  float* shared_out = nullptr;    // (rows, C)
};

// Rows [first, first + count) of the step; a workspace holds them from its row 0.
struct RowRange {
  std::size_t first = 0, count = 0;
};

// The rows of one segment and the heads that one thread attends in one call.
struct AttentionPiece {
  const SegmentRows* segment = nullptr;
  std::size_t row_begin = 0, row_end = 0;  // in the segment
  std::size_t head_begin = 0, head_end = 0;
};

// One of several products that share their input and their split over threads.
struct Product {
  const Weight* weight = nullptr;
  const Weight* bias = nullptr;  // a weight without values if there is no bias
  float* out = nullptr;          // where the output of the input's row 0 goes
  bool accumulate = false;       // out += instead of out =
};

struct StepContext {
  StepContext(const ModelConfig& config, const StageWeights& weights, Device& device,
              kernels::KvType kv_type);

  // Sizes the memory for `rows` rows whose longest sequence has `keys` keys, and plans the step.
  // The caller has filled in `segments`. Must not be called inside a step.
  void prepare(std::size_t rows, std::size_t keys, std::size_t logit_rows);

  const ModelConfig& config;
  const StageWeights& weights;
  const kernels::Kernels& kernels;
  ThreadPool& pool;
  const kernels::KvType kv_type;
  const int threads;
  RopeTable rope;
  RopeTable window_rope;         // for layers with a sliding window, if their base differs
  RelativeBias relative_bias;    // empty if the model has none
  bool f16_activations = false;  // x is rounded to f16 after every layer

  std::vector<SegmentRows> segments;
  std::size_t rows = 0;   // B
  float* x = nullptr;     // (B, C): the residual stream
  float* q = nullptr;     // (B, H*D)
  RowBuffer logit_input;  // (rows asked for, C)
  RowBuffer pooled;       // (rows asked for, C), if the model has a pooler

  bool by_rows = false;
  std::size_t tile_rows = 0, tiles = 0;   // by rows
  bool redundant = false;                 // by groups: each thread prepares every row for itself
  Workspace shared;                       // by groups: all rows
  std::vector<Workspace> own;             // of each thread: one tile, or kRedundantRows
  std::vector<RowBuffer> gathered;        // of each thread: the rows of one expert
  mutable std::vector<ExpertPlan> plans;  // of each thread
  std::vector<float*> attention_scratch;  // of each thread
  std::vector<std::vector<AttentionPiece>> attention_pieces;  // by groups: of each thread

  // Calls `body` for each tile of a phase that this thread gets, beginning with the last tiles,
  // which cost most. Every thread calls it once a phase. Phases are numbered from 0 within a step.
  template <class Body>
  void for_each_tile(std::size_t phase, Body body) {
    for (std::size_t taken; (taken = tiles_taken_[phase].fetch_add(1)) < tiles;) {
      const std::size_t first = (tiles - 1 - taken) * tile_rows;
      body(RowRange{first, std::min(tile_rows, rows - first)});
    }
  }
  IndexRange rows_of(int thread) const { return split(rows, thread, threads); }

  // out = norm(x) for rows [begin, end), with this weight and, for layer norm, the bias in the slot
  // after it.
  void norm(const Weight& weight, const float* x, std::size_t begin, std::size_t end,
            float* out) const;
  // Rounds rows [begin, end) of x to f16 if f16_activations is set.
  void round_activations(std::size_t begin, std::size_t end) const;
  // to.quantized = rows [begin, end) of `values`, if there are quantized weights of this width.
  void quantize(const float* values, std::size_t columns, std::size_t begin, std::size_t end,
                const RowBuffer& to) const;
  // out = W input + bias, or out += W input + bias, for `count` rows. `groups` is a range of the
  // row groups of all products together. The bias is written (or added) to the output first, and
  // the product is added to it.
  void multiply(const RowBuffer& input, std::size_t columns, std::size_t count,
                std::initializer_list<Product> products, IndexRange groups) const;
  // x = x + output, normed by `norm` and scaled as the model says, for the rows of `range`. output:
  // (range.count, C); it is overwritten.
  void add_output(const Weight& norm, float* output, RowRange range) const;
  // Norms q and k and rotates them, as the model says, and stores k and v in the pages
  // of `layer` (counted from the stage's first). It does so for rows [begin, end) of the workspace
  // `from`, whose row 0 is the step's row `first`.
  void rotate_and_store(std::size_t layer, std::size_t first, std::size_t begin, std::size_t end,
                        const Workspace& from) const;
  // Computes the attention of one piece. out: (.., H*D), whose row 0 is the step's row `first`.
  void attend(std::size_t layer, const AttentionPiece& piece, std::size_t first, float* out,
              int thread) const;
  // Computes the attention of all heads for some rows.
  void attend_rows(std::size_t layer, RowRange range, float* out, int thread) const;
  // gate = silu(gate) * up, or gelu(gate) and so on, and quantizes it; up may be overwritten. It
  // does so for `count` rows of `width` columns and the columns [begin, end). `begin` is a multiple
  // of activate_columns(width).
  void activate(const RowBuffer& gate, float* up, std::size_t width, std::size_t count,
                std::size_t begin, std::size_t end) const;
  // Returns the number of columns of rows of `width` that are quantized together: the longest block
  // that the weights multiply.
  std::size_t activate_columns(std::size_t width) const;

 private:
  Workspace make_workspace(std::size_t rows);
  void add_adapter(const AdapterWeights& adapter, const kernels::Activations& x, IndexRange groups,
                   float* out) const;
  RowBuffer make_rows(std::size_t rows, std::size_t columns);
  template <class T>
  T* make(std::size_t count);
  float* make_floats(std::size_t count);
  void plan_attention();
  void clamp_gate(float* gate, float* up, std::size_t count) const;
  void norm_queries_and_keys(std::size_t layer, float* q_row, float* k_row) const;

  std::byte* take(std::size_t bytes);

  const std::vector<float> no_bias_;  // (C) zeros, for norms without a bias
  AlignedBuffer memory_;
  std::byte* base_ = nullptr;  // of memory_, or null while sizes are added up
  std::size_t used_ = 0;
  std::vector<std::atomic<std::size_t>> tiles_taken_;
};

// Returns the number of row groups of all these weights.
std::size_t groups_of(std::initializer_list<const Weight*> weights);

}  // namespace troupe::model
