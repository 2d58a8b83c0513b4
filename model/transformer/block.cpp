#include <algorithm>

#include <troupe/model/transformer/block.h>

// One layer turns the residual stream x (B,C) into the next x:
//
//   n = norm(x)                                     sublayer_input
//   q, k, v = Wq n, Wk n, Wv n                      project_qkv
//   rotate q and k, keep k and v in their pages     StepContext::rotate_and_store
//   a = softmax(q k^T / sqrt(D)) v, for each head   StepContext::attend
//   x = x + Wo a                                    project_attended
//   n = norm(x)                                     sublayer_input
//   g = silu(Wg n) * (Wu n), or gelu(Wu n)          widen
//   x = x + Wd g                                    project_down
//
// If the ModelConfig says post_norm, n is x itself, and both sums are normed: x = norm(x + ...)
// (norm_sum). The ModelConfig also says which norm, activation and biases there are. Two orders run
// these steps and give the same bits: layer_by_groups for few rows, where all threads share each
// step, and run_by_rows for many rows, where a thread takes its rows through all steps.

namespace troupe::model {
namespace {

// Runs the layers of one stage, as one thread of the team.
class Layers {
 public:
  Layers(StepContext& step, int thread)
      : step_(step),
        config_(step.config),
        thread_(thread),
        own_(step.own[static_cast<std::size_t>(thread)]),
        channels_(step.config.channels),
        heads_width_(step.config.heads * step.config.head_dim),
        first_ffn_(config_.feed_forward == FeedForward::kGatedSilu ? kGate : kUp) {}

  void run() {
    if (step_.by_rows) {
      run_by_rows();
    } else {
      run_by_groups();
    }
  }

 private:
  const Weight& weight(std::size_t layer, std::size_t slot) const {
    return step_.weights.layers[layer][slot];
  }
  Product product(std::size_t layer, Slot slot, float* out, bool accumulate = false) const {
    return {&weight(layer, slot), &weight(layer, slot + 1), out, accumulate};
  }
  std::size_t groups(std::size_t layer, Slot slot) const {
    return weight(layer, slot).matrix.groups;
  }
  std::size_t qkv_groups(std::size_t layer) const {
    return groups_of({&weight(layer, kQ), &weight(layer, kK), &weight(layer, kV)});
  }
  IndexRange my_groups(std::size_t groups) const { return split(groups, thread_, step_.threads); }

  // q, k, v = Wq n, Wk n, Wv n for the rows in `workspace`.
  void project_qkv(std::size_t layer, RowRange range, const RowBuffer& normed,
                   const Workspace& workspace, IndexRange groups) {
    step_.multiply(normed, channels_, range.count,
                   {product(layer, kQ, step_.q + range.first * heads_width_),
                    product(layer, kK, workspace.k), product(layer, kV, workspace.v)},
                   groups);
  }

  // x += Wo a
  void project_attended(std::size_t layer, RowRange range, const RowBuffer& attended,
                        IndexRange groups) {
    step_.multiply(attended, heads_width_, range.count,
                   {product(layer, kAttnOut, step_.x + range.first * channels_, true)}, groups);
  }

  // g = silu(Wg n) * (Wu n), or gelu(Wu n). `units` counts in units of the row groups that make one
  // block of g.
  void widen(std::size_t layer, std::size_t count, const RowBuffer& normed,
             const Workspace& workspace, IndexRange units) {
    const kernels::PackedMatrix& first = weight(layer, first_ffn_).matrix;
    const IndexRange groups{unit_groups() * units.begin,
                            std::min(unit_groups() * units.end, first.groups)};
    step_.multiply(normed, channels_, count, {product(layer, first_ffn_, workspace.gate.values)},
                   groups);
    if (first_ffn_ == kGate)
      step_.multiply(normed, channels_, count, {product(layer, kUp, workspace.up)}, groups);
    step_.activate(workspace, count, groups.begin * kernels::kGroupRows,
                   std::min(groups.end * kernels::kGroupRows, first.rows));
  }
  std::size_t unit_groups() const { return step_.activate_columns() / kernels::kGroupRows; }
  std::size_t ffn_units(std::size_t layer) const {
    return (groups(layer, first_ffn_) + unit_groups() - 1) / unit_groups();
  }

  // x += Wd g
  void project_down(std::size_t layer, RowRange range, const RowBuffer& gate, IndexRange groups) {
    step_.multiply(gate, config_.ffn_channels, range.count,
                   {product(layer, kDown, step_.x + range.first * channels_, true)}, groups);
  }

  // Returns n, which a sublayer multiplies, for rows [begin, end) of the step's rows from `first`:
  // norm(x) in `room`, or x itself if norms come after sums.
  RowBuffer sublayer_input(const Weight& norm, std::size_t first, std::size_t begin,
                           std::size_t end, const RowBuffer& room) {
    RowBuffer input = room;
    float* x = step_.x + first * channels_;
    if (config_.post_norm) {
      input.values = x;
    } else {
      step_.norm(norm, x, begin, end, input.values);
    }
    step_.quantize(input.values, channels_, begin, end, input);
    return input;
  }

  // x = norm(x) for `count` rows from `first`, if norms come after sums.
  void norm_sum(const Weight& norm, std::size_t first, std::size_t count) {
    float* x = step_.x + first * channels_;
    if (config_.post_norm) step_.norm(norm, x, 0, count, x);
  }

  void run_by_groups() {
    for (std::size_t layer = 0; layer < step_.weights.layers.size(); ++layer)
      layer_by_groups(layer);
  }

  // Few rows: every step is split over the team.
  void layer_by_groups(std::size_t layer) {
    const RowRange all{0, step_.rows};
    const Workspace& shared = step_.shared;
    const RowBuffer attention_input = all_rows_input(weight(layer, kAttnNorm));
    project_qkv(layer, all, attention_input, shared, my_groups(qkv_groups(layer)));
    step_.pool.barrier(thread_);
    const IndexRange mine = step_.rows_of(thread_);
    step_.rotate_and_store(layer, 0, mine.begin, mine.end, shared);
    step_.pool.barrier(thread_);
    for (const AttentionPiece& piece : step_.attention_pieces[static_cast<std::size_t>(thread_)])
      step_.attend(layer, piece, 0, shared.attended.values, thread_);
    step_.pool.barrier(thread_);
    project_attended(layer, all, quantized_attended(), my_groups(groups(layer, kAttnOut)));
    finish_sum(weight(layer, kAttnNorm));
    const RowBuffer ffn_input = all_rows_input(weight(layer, kFfnNorm));
    widen(layer, step_.rows, ffn_input, shared, my_groups(ffn_units(layer)));
    step_.pool.barrier(thread_);
    project_down(layer, all, shared.gate, my_groups(groups(layer, kDown)));
    finish_sum(weight(layer, kFfnNorm));
    if (step_.f16_activations) {
      const IndexRange mine_now = step_.rows_of(thread_);
      step_.round_activations(mine_now.begin, mine_now.end);
      step_.pool.barrier(thread_);
    }
  }

  // Waits until every thread's part of a sum is in x, and norms it if norms come after sums.
  void finish_sum(const Weight& norm) {
    step_.pool.barrier(thread_);
    if (!config_.post_norm) return;
    const IndexRange mine = step_.rows_of(thread_);
    norm_sum(norm, mine.begin, mine.end - mine.begin);
    step_.pool.barrier(thread_);
  }

  // Returns the input of all rows. Each thread computes it for itself, or the threads share it.
  RowBuffer all_rows_input(const Weight& norm) {
    if (step_.redundant) return sublayer_input(norm, 0, 0, step_.rows, own_.normed);
    const IndexRange mine = step_.rows_of(thread_);
    const RowBuffer input = sublayer_input(norm, 0, mine.begin, mine.end, step_.shared.normed);
    step_.pool.barrier(thread_);
    return input;
  }

  // Returns a, quantized if there are quantized weights.
  RowBuffer quantized_attended() {
    RowBuffer out = step_.shared.attended;
    if (!step_.weights.any_quantized) return out;
    if (step_.redundant) {
      out.quantized = own_.attended.quantized;
      step_.quantize(out.values, heads_width_, 0, step_.rows, out);
      return out;
    }
    const IndexRange mine = step_.rows_of(thread_);
    step_.quantize(out.values, heads_width_, mine.begin, mine.end, out);
    step_.pool.barrier(thread_);
    return out;
  }

  // Many rows: a thread takes a tile of rows from the attention of one layer to the keys and values
  // of the next. All rows need these before the attention there begins.
  void run_by_rows() {
    const std::size_t layers = step_.weights.layers.size();
    for (std::size_t layer = 0; layer <= layers; ++layer) {
      step_.for_each_tile(layer, [&](RowRange tile) {
        if (layer > 0) attend_and_feed_forward(layer - 1, tile);
        if (layer < layers) prepare_attention(layer, tile);
      });
      step_.pool.barrier(thread_);
    }
  }

  void prepare_attention(std::size_t layer, RowRange tile) {
    const RowBuffer input =
        sublayer_input(weight(layer, kAttnNorm), tile.first, 0, tile.count, own_.normed);
    project_qkv(layer, tile, input, own_, {0, qkv_groups(layer)});
    step_.rotate_and_store(layer, tile.first, 0, tile.count, own_);
  }

  void attend_and_feed_forward(std::size_t layer, RowRange tile) {
    step_.attend_rows(layer, tile, own_.attended.values, thread_);
    step_.quantize(own_.attended.values, heads_width_, 0, tile.count, own_.attended);
    project_attended(layer, tile, own_.attended, {0, groups(layer, kAttnOut)});
    norm_sum(weight(layer, kAttnNorm), tile.first, tile.count);
    const RowBuffer input =
        sublayer_input(weight(layer, kFfnNorm), tile.first, 0, tile.count, own_.normed);
    widen(layer, tile.count, input, own_, {0, ffn_units(layer)});
    project_down(layer, tile, own_.gate, {0, groups(layer, kDown)});
    norm_sum(weight(layer, kFfnNorm), tile.first, tile.count);
    step_.round_activations(tile.first, tile.first + tile.count);
  }

  StepContext& step_;
  const ModelConfig& config_;
  const int thread_;
  const Workspace& own_;
  const std::size_t channels_, heads_width_;
  const Slot first_ffn_;  // the matrix whose output the activation takes: Wg, or Wu without a gate
};

}  // namespace

void run_layers(StepContext& step, int thread) { Layers(step, thread).run(); }

}  // namespace troupe::model
