#include <algorithm>
#include <cstring>

#include <troupe/model/transformer/experts.h>
#include <troupe/runtime/numerics/elementary.h>

namespace troupe::model {
namespace {

// Calls body(expert, begin, end) for this thread's part of the work: every active expert has
// `units` units, and the experts lie end to end.
template <class Body>
void for_each_part(const ExpertPlan& plan, std::size_t units, TeamPart part, Body body) {
  const IndexRange mine = split(plan.active.size() * units, part.part, part.parts);
  for (std::size_t at = mine.begin; at < mine.end;) {
    const std::size_t active = at / units;
    const std::size_t end = std::min(mine.end, (active + 1) * units);
    body(plan.active[active], at - active * units, end - active * units);
    at = end;
  }
}

template <class T>
void copy_values(T* to, const T* from, std::size_t count) {
  if (to != nullptr) std::memcpy(to, from, count * sizeof(T));
}

void copy_row(const RowBuffer& from, std::size_t row, std::size_t columns, const RowBuffer& to,
              std::size_t to_row) {
  const kernels::QuantizedRows source = from.quantized.from(row * columns);
  const kernels::QuantizedRows target = to.quantized.from(to_row * columns);
  copy_values(to.values + to_row * columns, from.values + row * columns, columns);
  copy_values(target.q, source.q, columns);
  copy_values(target.d, source.d, columns / kernels::kBlock);
  copy_values(target.s, source.s, columns / kernels::kBlock);
  copy_values(target.sum, source.sum, columns / kernels::kBlock);
  copy_values(target.super_q, source.super_q, columns);
  copy_values(target.super_d, source.super_d, columns / kernels::kSuperblock);
  copy_values(target.super_sums, source.super_sums, columns / kernels::kSumElements);
}

RowBuffer from_row(const RowBuffer& rows, std::size_t row, std::size_t columns) {
  return {rows.values + row * columns, rows.quantized.from(row * columns)};
}

// Returns the rows of an expert side by side: in place if they lie so already, otherwise as copies.
RowBuffer gathered(const ExpertPlan& plan, std::size_t expert, const RowBuffer& rows,
                   std::size_t columns, const RowBuffer& room) {
  const std::size_t first = plan.first[expert], count = plan.rows_of(expert);
  const std::size_t row = plan.shares[first].row;
  if (plan.shares[first + count - 1].row - row + 1 == count) return from_row(rows, row, columns);
  for (std::size_t i = 0; i < count; ++i)
    copy_row(rows, plan.shares[first + i].row, columns, room, i);
  return room;
}

}  // namespace

void widen_experts(const StepContext& step, std::size_t layer, const ExpertPlan& plan,
                   const RowBuffer& normed, const Workspace& workspace, TeamPart part) {
  const ModelConfig& config = step.config;
  const std::size_t columns = config.channels, width = config.expert_channels;
  const std::size_t unit_groups = step.activate_columns(width) / kernels::kGroupRows;
  const std::size_t groups = step.weights.experts[layer][0][kExpertUp].matrix.groups;
  const std::size_t units = (groups + unit_groups - 1) / unit_groups;
  for_each_part(plan, units, part, [&](std::size_t expert, std::size_t begin, std::size_t end) {
    const auto& weights = step.weights.experts[layer][expert];
    const std::size_t count = plan.rows_of(expert), first = plan.first[expert];
    const RowBuffer input = gathered(plan, expert, normed, columns,
                                     step.gathered[static_cast<std::size_t>(part.thread)]);
    const IndexRange mine{begin * unit_groups, std::min(end * unit_groups, groups)};
    const RowBuffer gate = from_row(workspace.expert_gate, first, width);
    float* up = workspace.expert_up + first * width;
    step.multiply(input, columns, count,
                  {{&weights[kExpertGate], &weights[kExpertGateBias], gate.values}}, mine);
    step.multiply(input, columns, count, {{&weights[kExpertUp], &weights[kExpertUpBias], up}},
                  mine);
    step.activate(gate, up, width, count, mine.begin * kernels::kGroupRows,
                  std::min(mine.end * kernels::kGroupRows, width));
  });
}

void narrow_experts(const StepContext& step, std::size_t layer, const ExpertPlan& plan,
                    const Workspace& workspace, TeamPart part) {
  const ModelConfig& config = step.config;
  const std::size_t groups = step.weights.experts[layer][0][kExpertDown].matrix.groups;
  for_each_part(plan, groups, part, [&](std::size_t expert, std::size_t begin, std::size_t end) {
    const std::size_t first = plan.first[expert];
    const auto& weights = step.weights.experts[layer][expert];
    step.multiply(from_row(workspace.expert_gate, first, config.expert_channels),
                  config.expert_channels, plan.rows_of(expert),
                  {{&weights[kExpertDown], &weights[kExpertDownBias],
                    workspace.expert_out + first * config.channels}},
                  {begin, end});
  });
}

void add_experts(const StepContext& step, const ExpertPlan& plan, const Workspace& workspace,
                 std::size_t begin, std::size_t end) {
  const std::size_t channels = step.config.channels, used = step.config.experts_used;
  for (std::size_t row = begin; row < end; ++row) {
    float* out = workspace.output + row * channels;
    std::fill_n(out, channels, 0.0f);
    for (std::size_t i = 0; i < used; ++i) {
      const std::size_t share = plan.of_row[row * used + i];
      const float weight = plan.shares[share].weight;
      const float* from = workspace.expert_out + share * channels;
      for (std::size_t c = 0; c < channels; ++c) out[c] += weight * from[c];
    }
    if (!step.config.shared_expert) continue;
    const float weight = 1.0f / (1.0f + exp_bits(-workspace.shared_scale[row]));
    const float* from = workspace.shared_out + row * channels;
    for (std::size_t c = 0; c < channels; ++c) out[c] += weight * from[c];
  }
}

}  // namespace troupe::model
