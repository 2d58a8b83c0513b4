#include <algorithm>

#include <troupe/model/transformer/block.h>
#include <troupe/model/transformer/experts.h>

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
// In a layer that is a mixture of experts, the last two lines are route, widen_mixture,
// narrow_mixture and add_mixture.
//
// If the ModelConfig says post_norm, n is x itself, and both sums are normed: x = norm(x + ...)
// (finish_rows). Where a sublayer has no norm, n is x, too. If output_changes, Wo a and Wd g are
// normed or scaled before they are added. The ModelConfig also says which norm, activation and
// biases there are.
//
// Two orders run these steps and give the same bits: layer_by_groups for few rows, where all
// threads share each step, and run_by_rows for many rows, where a thread takes its rows through all
// steps.

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
        plan_(step.plans[static_cast<std::size_t>(thread)]),
        channels_(step.config.channels),
        heads_width_(step.config.heads * step.config.head_dim),
        first_ffn_(config_.gated() ? kGate : kUp) {}

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

  // Returns the product that is added to x, or whose output waits in `workspace` to be changed
  // first.
  Product output_product(std::size_t layer, Slot slot, RowRange range,
                         const Workspace& workspace) const {
    if (config_.output_changes()) return product(layer, slot, workspace.output);
    return product(layer, slot, step_.x + range.first * channels_, /*accumulate=*/true);
  }

  // x += Wo a
  void project_attended(std::size_t layer, RowRange range, const RowBuffer& attended,
                        const Workspace& workspace, IndexRange groups) {
    step_.multiply(attended, heads_width_, range.count,
                   {output_product(layer, kAttnOut, range, workspace)}, groups);
  }

  bool has_experts(std::size_t layer) const {
    return config_.has_experts(step_.weights.range.begin + layer);
  }
  // The rows inside the network that all rows of a layer pass through: g and Wu n, and their width.
  struct InnerRows {
    const RowBuffer& gate;
    float* up;
    std::size_t columns;
  };
  InnerRows inner_rows(std::size_t layer, const Workspace& workspace) const {
    if (config_.experts > 0 && !has_experts(layer))
      return {workspace.dense_gate, workspace.dense_up, config_.dense_channels};
    return {workspace.gate, workspace.up, config_.ffn_channels};
  }

  // g = silu(Wg n) * (Wu n), or gelu(Wu n). `units` is a range of units; a unit is the row groups
  // that make one block of g.
  void widen(std::size_t layer, std::size_t count, const RowBuffer& normed,
             const Workspace& workspace, IndexRange units) {
    const InnerRows inner = inner_rows(layer, workspace);
    const kernels::PackedMatrix& first = weight(layer, first_ffn_).matrix;
    const std::size_t unit = unit_groups(inner.columns);
    const IndexRange groups{unit * units.begin, std::min(unit * units.end, first.groups)};
    step_.multiply(normed, channels_, count, {product(layer, first_ffn_, inner.gate.values)},
                   groups);
    if (first_ffn_ == kGate)
      step_.multiply(normed, channels_, count, {product(layer, kUp, inner.up)}, groups);
    step_.activate(inner.gate, inner.up, inner.columns, count, groups.begin * kernels::kGroupRows,
                   std::min(groups.end * kernels::kGroupRows, first.rows));
  }
  std::size_t unit_groups(std::size_t columns) const {
    return step_.activate_columns(columns) / kernels::kGroupRows;
  }
  std::size_t ffn_units(std::size_t layer) const {
    const std::size_t unit = unit_groups(inner_rows(layer, own_).columns);
    return (groups(layer, first_ffn_) + unit - 1) / unit;
  }

  // x += Wd g
  void project_down(std::size_t layer, RowRange range, const Workspace& workspace,
                    IndexRange groups) {
    const InnerRows inner = inner_rows(layer, workspace);
    step_.multiply(inner.gate, inner.columns, range.count,
                   {output_product(layer, kDown, range, workspace)}, groups);
  }

  // Computes the rows of `range` through the experts of a mixture, from the rows of `normed`: the
  // router's logits, the inner rows, the outer rows and their sum, in four phases. Between two
  // phases, every thread that has a part of the rows must be done.
  void route(std::size_t layer, RowRange range, const RowBuffer& normed, const Workspace& workspace,
             TeamPart part) {
    const Weight& gate = weight(layer, kSharedGate);
    step_.multiply(normed, channels_, range.count, {product(layer, kRouter, workspace.router)},
                   split(groups(layer, kRouter), part.part, part.parts));
    if (config_.shared_expert)
      step_.multiply(normed, channels_, range.count, {{&gate, nullptr, workspace.shared_scale}},
                     split(gate.matrix.groups, part.part, part.parts));
  }
  void widen_mixture(std::size_t layer, RowRange range, const RowBuffer& normed,
                     const Workspace& workspace, TeamPart part) {
    plan_.choose(config_, workspace.router, range.count);
    widen_experts(step_, layer, plan_, normed, workspace, part);
    if (config_.shared_expert)
      widen(layer, range.count, normed, workspace, split(ffn_units(layer), part.part, part.parts));
  }
  void narrow_mixture(std::size_t layer, RowRange range, const Workspace& workspace,
                      TeamPart part) {
    narrow_experts(step_, layer, plan_, workspace, part);
    if (config_.shared_expert)
      step_.multiply(workspace.gate, config_.ffn_channels, range.count,
                     {product(layer, kDown, workspace.shared_out)},
                     split(groups(layer, kDown), part.part, part.parts));
  }
  // x += the sum, unless the sum is changed first (finish_rows).
  void add_mixture(RowRange range, const Workspace& workspace, std::size_t from) {
    add_experts(step_, plan_, workspace, from, from + range.count);
    if (config_.output_changes()) return;
    float* x = step_.x + range.first * channels_;
    const float* sum = workspace.output + from * channels_;
    for (std::size_t i = 0; i < range.count * channels_; ++i) x[i] += sum[i];
  }

  // Returns n, which a sublayer multiplies, for rows [begin, end) of the step's rows from `first`:
  // norm(x) in `room`, or x itself if inputs are not normed.
  RowBuffer sublayer_input(const Weight& norm, std::size_t first, std::size_t begin,
                           std::size_t end, const RowBuffer& room) {
    RowBuffer input = room;
    float* x = step_.x + first * channels_;
    if (config_.post_norm || norm.vector.empty()) {
      input.values = x;
    } else {
      step_.norm(norm, x, begin, end, input.values);
    }
    step_.quantize(input.values, channels_, begin, end, input);
    return input;
  }

  // Ends a sublayer for the rows of `range`: adds its output, if that waits in `workspace` from row
  // `from` on, and norms the sum if norms come after sums.
  void finish_rows(std::size_t layer, Slot norm, RowRange range, const Workspace& workspace,
                   std::size_t from) {
    float* x = step_.x + range.first * channels_;
    if (config_.output_changes())
      step_.add_output(weight(layer, norm == kAttnNorm ? kAttnPostNorm : kFfnPostNorm),
                       workspace.output + from * channels_, range);
    if (config_.post_norm) step_.norm(weight(layer, norm), x, 0, range.count, x);
  }

  void run_by_groups() {
    for (std::size_t layer = 0; layer < step_.weights.layers.size(); ++layer)
      layer_by_groups(layer);
  }

  // Runs a layer for few rows: every step is split over the team.
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
    project_attended(layer, all, quantized_attended(), shared, my_groups(groups(layer, kAttnOut)));
    finish_sum(layer, kAttnNorm);
    feed_forward_by_groups(layer, all, shared);
    finish_sum(layer, kFfnNorm);
    if (step_.f16_activations) {
      const IndexRange mine_now = step_.rows_of(thread_);
      step_.round_activations(mine_now.begin, mine_now.end);
      step_.pool.barrier(thread_);
    }
  }

  void feed_forward_by_groups(std::size_t layer, RowRange all, const Workspace& shared) {
    const RowBuffer input = all_rows_input(weight(layer, kFfnNorm));
    if (!has_experts(layer)) {
      widen(layer, step_.rows, input, shared, my_groups(ffn_units(layer)));
      step_.pool.barrier(thread_);
      project_down(layer, all, shared, my_groups(groups(layer, kDown)));
      return;
    }
    const TeamPart part{thread_, step_.threads, thread_};
    route(layer, all, input, shared, part);
    step_.pool.barrier(thread_);
    widen_mixture(layer, all, input, shared, part);
    step_.pool.barrier(thread_);
    narrow_mixture(layer, all, shared, part);
    step_.pool.barrier(thread_);
    const IndexRange mine = step_.rows_of(thread_);
    add_mixture({mine.begin, mine.end - mine.begin}, shared, mine.begin);
  }

  // Waits until every thread's part of a sublayer's output is there, and ends the sublayer.
  void finish_sum(std::size_t layer, Slot norm) {
    step_.pool.barrier(thread_);
    if (!config_.post_norm && !config_.output_changes()) return;
    const IndexRange mine = step_.rows_of(thread_);
    finish_rows(layer, norm, {mine.begin, mine.end - mine.begin}, step_.shared, mine.begin);
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

  // Returns the attention's output `a`, quantized if there are quantized weights.
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

  // Runs the layers for many rows: a thread takes a tile of rows from the attention of one layer to
  // the keys and values of the next. The attention of the next layer begins when the keys and
  // values of all rows are there.
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
    project_attended(layer, tile, own_.attended, own_, {0, groups(layer, kAttnOut)});
    finish_rows(layer, kAttnNorm, tile, own_, 0);
    const RowBuffer input =
        sublayer_input(weight(layer, kFfnNorm), tile.first, 0, tile.count, own_.normed);
    if (!has_experts(layer)) {
      widen(layer, tile.count, input, own_, {0, ffn_units(layer)});
      project_down(layer, tile, own_, {0, groups(layer, kDown)});
    } else {
      const TeamPart alone{0, 1, thread_};
      route(layer, tile, input, own_, alone);
      widen_mixture(layer, tile, input, own_, alone);
      narrow_mixture(layer, tile, own_, alone);
      add_mixture(tile, own_, 0);
    }
    finish_rows(layer, kFfnNorm, tile, own_, 0);
    step_.round_activations(tile.first, tile.first + tile.count);
  }

  StepContext& step_;
  const ModelConfig& config_;
  const int thread_;
  const Workspace& own_;
  ExpertPlan& plan_;
  const std::size_t channels_, heads_width_;
  const Slot first_ffn_;  // the matrix whose output the activation takes: Wg, or Wu without a gate
};

}  // namespace

void run_layers(StepContext& step, int thread) { Layers(step, thread).run(); }

}  // namespace troupe::model
