#pragma once

#include <atomic>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

#include <troupe/model/transformer/kv_cache.h>
#include <troupe/model/transformer/rope_table.h>
#include <troupe/model/transformer/weights.h>
#include <troupe/runtime/machine/aligned_buffer.h>

// One step of a stage as its layers see it: rows of several sequences, their KV pages, the memory
// to work in, and the operations that families put together. All threads of the pool run the same
// code (SPMD); memory is sized between steps, never inside one.
//
// Two plans, chosen by the number of rows, give the same bits:
//   by groups   few rows: each phase splits the rows of a weight matrix over the threads, with a
//               barrier between phases, because reading the weights is what costs
//   by rows     many rows: a thread takes a tile of rows through a whole layer alone, in memory
//               that fits its cache; one barrier a layer, for the keys and values
//
// B rows of the step, C channels, H heads, K key/value heads, D channels of a head, F of the
// feed-forward network.

namespace troupe::model {

struct StepSegment {
  PagedKvSequence* sequence = nullptr;
  std::size_t position = 0, count = 0;
  std::size_t first_row = 0;  // in the step
};

// Rows as f32, and beside it as the int8 blocks that the stage's weights of that width multiply.
struct RowBuffer {
  float* values = nullptr;
  kernels::QuantizedRows quantized;
};

// Memory for the intermediate values of some rows.
struct Workspace {
  RowBuffer normed;     // (rows, C)
  RowBuffer attended;   // (rows, H*D)
  RowBuffer gate;       // (rows, F)
  float* up = nullptr;  // (rows, F)
  float* k = nullptr;   // (rows, K*D)
  float* v = nullptr;   // (rows, K*D)
};

// Rows [first, first + count) of the step; a workspace holds them from its row 0.
struct RowRange {
  std::size_t first = 0, count = 0;
};

// Rows of one segment and heads that one thread attends in one call.
struct AttentionPiece {
  const StepSegment* segment = nullptr;
  std::size_t row_begin = 0, row_end = 0;  // in the segment
  std::size_t head_begin = 0, head_end = 0;
};

// One product of several that share their input and their split over threads.
struct Product {
  const Weight* weight = nullptr;
  const Weight* bias = nullptr;  // without values: none
  float* out = nullptr;          // row 0 of the input's rows
  bool accumulate = false;
};

struct StepContext {
  StepContext(const ModelConfig& config, const StageWeights& weights, Device& device,
              kernels::KvType kv_type);

  // Sizes the memory for `rows` rows whose longest sequence has `keys` keys, and plans the step.
  // `segments` is filled in. Not inside a step.
  void prepare(std::size_t rows, std::size_t keys, std::size_t logit_rows);

  const ModelConfig& config;
  const StageWeights& weights;
  const kernels::Kernels& kernels;
  ThreadPool& pool;
  const kernels::KvType kv_type;
  const int threads;
  RopeTable rope;
  bool f16_activations = false;  // x is rounded to f16 behind every layer

  std::vector<StepSegment> segments;
  std::size_t rows = 0;   // B
  float* x = nullptr;     // (B, C): the residual stream
  float* q = nullptr;     // (B, H*D)
  RowBuffer logit_input;  // (rows asked for, C)
  RowBuffer pooled;       // the same, of a model with a pooler

  bool by_rows = false;
  std::size_t tile_rows = 0, tiles = 0;   // by rows
  bool redundant = false;                 // by groups: each thread prepares every row for itself
  Workspace shared;                       // by groups: all rows
  std::vector<Workspace> own;             // of each thread: one tile, or kRedundantRows
  std::vector<float*> attention_scratch;  // of each thread
  std::vector<std::vector<AttentionPiece>> attention_pieces;  // by groups: of each thread

  // The tiles of a phase that this thread gets, the costly last ones first. Every thread calls it
  // once a phase; phases are numbered from 0 within a step.
  template <class Body>
  void for_each_tile(std::size_t phase, Body body) {
    for (std::size_t taken; (taken = tiles_taken_[phase].fetch_add(1)) < tiles;) {
      const std::size_t first = (tiles - 1 - taken) * tile_rows;
      body(RowRange{first, std::min(tile_rows, rows - first)});
    }
  }
  IndexRange rows_of(int thread) const { return split(rows, thread, threads); }

  // out = norm(x) of rows [begin, end), with this weight and, for layer norm, the bias behind it.
  void norm(const Weight& weight, const float* x, std::size_t begin, std::size_t end,
            float* out) const;
  // Rounds rows [begin, end) of x to f16 where the stage does so.
  void round_activations(std::size_t begin, std::size_t end) const;
  // to.quantized = rows [begin, end) of `values`, when there are quantized weights.
  void quantize(const float* values, std::size_t columns, std::size_t begin, std::size_t end,
                const RowBuffer& to) const;
  // out (+)= W . input + bias for `count` rows and a range of the row groups of all products
  // together. The bias goes first into (or onto) the output, the product on top of it.
  void multiply(const RowBuffer& input, std::size_t columns, std::size_t count,
                std::initializer_list<Product> products, IndexRange groups) const;
  // Norms the heads of q and k and rotates them, as far as the model does, for rows [begin, end) of
  // a workspace that holds the step's rows from `first`, and stores k and v in the pages of `layer`
  // (counted from the stage's first).
  void rotate_and_store(std::size_t layer, std::size_t first, std::size_t begin, std::size_t end,
                        const Workspace& from) const;
  // Attention of one piece; out: (.., H*D), its row 0 is the step's row `first`.
  void attend(std::size_t layer, const AttentionPiece& piece, std::size_t first, float* out,
              int thread) const;
  // Attention of all heads of some rows.
  void attend_rows(std::size_t layer, RowRange range, float* out, int thread) const;
  // gate = silu(gate) * up, or gelu(gate), ready to be multiplied, for `count` rows and columns
  // [begin, end); begin is a multiple of activate_columns().
  void activate(const Workspace& workspace, std::size_t count, std::size_t begin,
                std::size_t end) const;
  // Columns of gate that are quantized together: the longest block that its weights ask for.
  std::size_t activate_columns() const;

 private:
  Workspace make_workspace(std::size_t rows);
  RowBuffer make_rows(std::size_t rows, std::size_t columns);
  template <class T>
  T* make(std::size_t count);
  float* make_floats(std::size_t count);
  void plan_attention();
  void norm_heads(const Weight& weight, float* heads, std::size_t count) const;

  std::byte* take(std::size_t bytes);

  AlignedBuffer memory_;
  std::byte* base_ = nullptr;  // of memory_, or null while sizes are added up
  std::size_t used_ = 0;
  std::vector<std::atomic<std::size_t>> tiles_taken_;
};

// Row groups of the weights together.
std::size_t groups_of(std::initializer_list<const Weight*> weights);

}  // namespace troupe::model
