#include <algorithm>
#include <cstring>

#include <troupe/model/training/team.h>
#include <troupe/runtime/kernels/column_sums.h>
#include <troupe/runtime/kernels/table.h>
#include <troupe/runtime/kernels/training_table.h>
#include <troupe/runtime/kernels/transposed.h>

namespace troupe::model {
namespace {

// The number of groups of W^T that are made at once. They should fit into the second-level cache.
constexpr std::size_t kTransposedGroups = 4;

void grow(AlignedBuffer* buffer, std::size_t floats) {
  if (buffer->bytes() < floats * sizeof(float)) *buffer = AlignedBuffer(floats * sizeof(float));
}

// Returns the width of the widest rows that a product of the step takes or gives.
std::size_t widest_row(const ModelConfig& config, std::size_t rank) {
  return std::max({config.channels, config.heads * config.head_dim, config.ffn_channels,
                   config.labels, rank, std::min(config.outputs(), kVocabularyBlock)});
}

// Returns the floats of a thread's scratch.
std::size_t thread_scratch(const ModelConfig& config, std::size_t rows, std::size_t longest) {
  kernels::AttentionArgs args;
  args.heads = config.heads;
  args.kv_heads = config.kv_heads;
  args.head_dim = config.head_dim;
  return std::max({rows * kernels::kGradientOutputs, config.channels,
                   kernels::attention_backward_scratch_floats(longest, config.head_dim),
                   kernels::attention_scratch_floats(args, longest)});
}

}  // namespace

std::size_t team_scratch_floats(const ModelConfig& config, int threads, std::size_t rows,
                                std::size_t longest, std::size_t rank) {
  const std::size_t columns = widest_row(config, rank);
  return static_cast<std::size_t>(threads) * (thread_scratch(config, rows, longest) +
                                              kTransposedGroups * kernels::kGroupRows * columns) +
         rows * (columns + kernels::kGroupRows);
}

Team::Team(Device& device)
    : pool(device.pool()),
      kernels(device.kernels()),
      training(kernels::training_table(device.kernels().isa)),
      threads(device.threads()),
      scratch_(static_cast<std::size_t>(threads)),
      transposed_(static_cast<std::size_t>(threads)) {}

void Team::reserve(const ModelConfig& config, std::size_t rows, std::size_t longest,
                   std::size_t rank, std::size_t quantized_floats) {
  grow(&floats_.data, quantized_floats);
  const std::size_t columns = widest_row(config, rank);
  for (AlignedBuffer& buffer : scratch_) grow(&buffer, thread_scratch(config, rows, longest));
  for (kernels::PackedMatrix& matrix : transposed_)
    grow(&matrix.data, kTransposedGroups * kernels::kGroupRows * columns);
  grow(&panels_, rows * (columns + training.panel_columns));
}

const kernels::PackedMatrix& Team::as_floats(int thread, const kernels::PackedMatrix& w,
                                             std::size_t row_begin, std::size_t row_end,
                                             std::size_t* offset) {
  *offset = w.type == quant::Type::kF32 ? row_begin : 0;
  if (w.type == quant::Type::kF32) return w;
  const std::size_t first = row_begin / kernels::kGroupRows;
  const std::size_t groups = (row_end + kernels::kGroupRows - 1) / kernels::kGroupRows - first;
  const IndexRange mine = share(groups, thread);
  kernels::dequantize_groups(
      w, first + mine.begin, first + mine.end,
      scratch_floats(floats_.data) + mine.begin * kernels::kGroupRows * w.columns);
  if (thread == 0) {
    floats_.type = quant::Type::kF32;
    floats_.rows = row_end - row_begin;
    floats_.columns = w.columns;
    floats_.groups = groups;
    floats_.group_bytes = w.columns * kernels::kGroupRows * sizeof(float);
  }
  barrier(thread);
  return floats_;
}

void Team::multiply(int thread, const Weight& weight, const Weight* bias, RowsOfFloats x,
                    float* out, bool accumulate) {
  std::size_t offset = 0;
  const kernels::PackedMatrix& w = as_floats(thread, weight.matrix, 0, weight.matrix.rows, &offset);
  const IndexRange groups = share(w.groups, thread);
  const bool biased = bias != nullptr && !bias->vector.empty();
  if (biased) {
    const std::size_t begin = groups.begin * kernels::kGroupRows;
    const std::size_t end = std::min(groups.end * kernels::kGroupRows, w.rows);
    for (std::size_t row = 0; row < x.rows; ++row)
      for (std::size_t c = begin; c < end; ++c) {
        float& to = out[row * w.rows + c];
        to = accumulate ? to + bias->vector[c] : bias->vector[c];
      }
  }
  const kernels::Activations activations{x.rows, x.columns, x.values, {}};
  if (groups.begin < groups.end)
    kernels.matmul(w, activations, groups.begin, groups.end, out, w.rows, accumulate || biased);
  barrier(thread);
}

void Team::multiply_block(int thread, const kernels::PackedMatrix& w, std::size_t row_begin,
                          std::size_t row_end, RowsOfFloats x, float* out) {
  std::size_t offset = 0;
  const kernels::PackedMatrix& part = as_floats(thread, w, row_begin, row_end, &offset);
  const std::size_t columns = row_end - row_begin;
  const std::size_t group = offset / kernels::kGroupRows;
  const IndexRange groups =
      share((columns + kernels::kGroupRows - 1) / kernels::kGroupRows, thread);
  // The kernel counts columns from the first row of the matrix; this pointer stays inside the
  // logits, because each of the rows before has `offset` columns or more there.
  const kernels::Activations activations{x.rows, x.columns, x.values, {}};
  if (groups.begin < groups.end)
    kernels.matmul(part, activations, group + groups.begin, group + groups.end, out - offset,
                   columns, false);
  barrier(thread);
}

void Team::multiply_transposed(int thread, const kernels::PackedMatrix& w, RowsOfFloats dy,
                               float* dx, bool accumulate) {
  multiply_transposed(thread, w, 0, w.rows, dy, dx, accumulate);
}

void Team::multiply_transposed(int thread, const kernels::PackedMatrix& whole,
                               std::size_t row_begin, std::size_t row_end, RowsOfFloats dy,
                               float* dx, bool accumulate) {
  std::size_t offset = 0;
  const kernels::PackedMatrix& w = as_floats(thread, whole, row_begin, row_end, &offset);
  kernels::PackedMatrix& transposed = transposed_[static_cast<std::size_t>(thread)];
  const kernels::Activations gradients{dy.rows, dy.columns, dy.values, {}};
  const std::size_t groups = (w.columns + kernels::kGroupRows - 1) / kernels::kGroupRows;
  const IndexRange mine = share(groups, thread);
  for (std::size_t group = mine.begin; group < mine.end; group += kTransposedGroups) {
    const std::size_t end = std::min(mine.end, group + kTransposedGroups);
    kernels::transpose_groups(w, offset, offset + row_end - row_begin, group, end, &transposed);
    kernels.matmul(transposed, gradients, 0, end - group, dx + group * kernels::kGroupRows,
                   w.columns, accumulate);
  }
  barrier(thread);
}

void Team::multiply_narrow(int thread, const kernels::PackedMatrix& w, float scale, RowsOfFloats x,
                           float* out) {
  const IndexRange mine = share(x.rows, thread);
  if (mine.begin < mine.end) {
    kernels::PackedMatrix& transposed = transposed_[static_cast<std::size_t>(thread)];
    const kernels::Activations rows{
        mine.end - mine.begin, x.columns, x.values + mine.begin * x.columns, {}};
    const std::size_t groups = (w.columns + kernels::kGroupRows - 1) / kernels::kGroupRows;
    for (std::size_t group = 0; group < groups; group += kTransposedGroups) {
      const std::size_t end = std::min(groups, group + kTransposedGroups);
      kernels::transpose_groups(w, 0, w.rows, group, end, &transposed);
      kernels.matmul(transposed, rows, 0, end - group,
                     out + mine.begin * w.columns + group * kernels::kGroupRows, w.columns, false);
    }
    for (std::size_t i = mine.begin * w.columns; i < mine.end * w.columns; ++i) out[i] *= scale;
  }
  barrier(thread);
}

void Team::pack_inputs(int thread, RowsOfFloats x) {
  const std::size_t panels = (x.columns + training.panel_columns - 1) / training.panel_columns;
  const IndexRange mine = share(panels, thread);
  training.pack_panels(x.values, x.rows, x.columns, mine.begin, mine.end, scratch_floats(panels_));
  if (thread == 0) panels_columns_ = x.columns;
  barrier(thread);
}

void Team::block_gradient(int thread, Parameter& matrix, std::size_t first_row, RowsOfFloats dy,
                          const SumPart& part) {
  kernels::GradientSum sum = matrix.sum(part);
  for (float*& entry : sum.stack)
    if (entry != nullptr) entry += first_row * panels_columns_;
  const IndexRange mine =
      share((dy.columns + kernels::kGroupRows - 1) / kernels::kGroupRows, thread);
  training.weight_gradient(scratch_floats(panels_), panels_columns_, dy.values, dy.rows, dy.columns,
                           sum, mine.begin, mine.end, scratch(thread));
  barrier(thread);
}

void Team::bias_gradient(int thread, Parameter& bias, std::size_t first, RowsOfFloats dy,
                         const SumPart& part) {
  kernels::GradientSum sum = bias.sum(part);
  for (float*& entry : sum.stack)
    if (entry != nullptr) entry += first;
  const IndexRange blocks = share((dy.columns + 15) / 16, thread);
  kernels::column_sums(dy.values, dy.columns, sum, blocks.begin * 16,
                       std::min(blocks.end * 16, dy.columns));
  barrier(thread);
}

}  // namespace troupe::model
