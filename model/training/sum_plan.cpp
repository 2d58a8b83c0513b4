#include <algorithm>

#include <troupe/model/training/sum_plan.h>

namespace troupe::model {
namespace {

// Returns the number of tree nodes that are complete after slot `slot` and have two children with
// leaves. `next` is the next slot that has leaves, or kSumSlots.
std::uint32_t merges_after(std::size_t slot, std::size_t next, const bool (&present)[kSumSlots]) {
  std::uint32_t merges = 0;
  for (std::size_t width = 1; width < kSumSlots; width *= 2) {
    const std::size_t node = slot / (2 * width);
    if (next < kSumSlots && next / (2 * width) == node) break;
    const std::size_t left = node * 2 * width, middle = left + width;
    const bool is_right = slot >= middle;
    bool left_present = false;
    for (std::size_t i = left; i < middle; ++i) left_present |= present[i];
    merges += is_right && left_present ? 1 : 0;
  }
  return merges;
}

}  // namespace

std::vector<Leaf> cut_leaves(std::span<const std::size_t> lengths) {
  std::size_t count = 0;
  for (const std::size_t length : lengths) count += (length + kLeafRows - 1) / kLeafRows;
  std::vector<Leaf> leaves;
  leaves.reserve(count);
  for (std::size_t example = 0; example < lengths.size(); ++example) {
    const std::size_t slot = leaves.size() * kSumSlots / std::max<std::size_t>(1, count);
    for (std::size_t first = 0; first < lengths[example]; first += kLeafRows)
      leaves.push_back({example, first, slot, std::min(kLeafRows, lengths[example] - first)});
  }
  return leaves;
}

SumPlan::SumPlan(std::span<const Leaf> leaves) {
  bool present[kSumSlots] = {};
  for (const Leaf& leaf : leaves) present[leaf.slot] |= leaf.rows != 0;
  std::vector<std::size_t> slots;  // of the steps
  for (const Leaf& leaf : leaves) {
    if (leaf.rows == 0) continue;
    const bool adds = !slots.empty() && slots.back() == leaf.slot;
    steps_.push_back({leaf.example, leaf.rows, adds, 0, 0});
    slots.push_back(leaf.slot);
  }
  std::size_t depth = 0;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const std::size_t next = i + 1 < steps_.size() ? slots[i + 1] : kSumSlots;
    steps_[i].depth_before = depth;
    if (next != slots[i]) steps_[i].merges = merges_after(slots[i], next, present);
    depth = depth + (steps_[i].adds ? 0 : 1) - steps_[i].merges;
  }
}

SumPart SumPlan::part(std::size_t begin, std::size_t end) const {
  SumPart part;
  std::size_t depth = 0;
  const auto first = std::find_if(steps_.begin(), steps_.end(),
                                  [&](const Step& step) { return step.example >= begin; });
  if (first != steps_.end()) {
    depth = first->depth_before;
  } else if (!steps_.empty()) {
    depth = 1;  // all leaves are before these examples
  }
  part.depth_in = depth;
  for (auto step = first; step != steps_.end() && step->example < end; ++step) {
    part.steps.push_back({part.rows, part.rows + step->rows, step->adds, step->merges});
    part.rows += step->rows;
    depth = depth + (step->adds ? 0 : 1) - step->merges;
  }
  part.depth_out = depth;
  return part;
}

kernels::GradientSum SumPart::over(std::span<float* const> stack) const {
  kernels::GradientSum sum;
  sum.steps = steps;
  sum.depth_in = depth_in;
  sum.depth_out = depth_out;
  std::copy(stack.begin(), stack.end(), sum.stack);
  return sum;
}

SumPart SumPart::repeated(std::size_t times) const {
  SumPart part = *this;
  part.rows *= times;
  for (kernels::SumStep& step : part.steps) step.begin *= times, step.end *= times;
  return part;
}

}  // namespace troupe::model
