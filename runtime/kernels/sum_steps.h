#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

// A sum over the rows of a training batch, as the steps of a stack machine. The shape of the sum is
// planned once for a global batch (model/training/sum_plan.h). The steps of one micro-batch run its
// part of the plan, and unfinished sums stay on the stack in memory. Every kernel that sums over
// rows runs the same steps, so that each of its outputs has the same shape. Pure.

namespace troupe::kernels {

constexpr std::size_t kSumStackMax = 4;  // the most partial sums that a plan holds at once

// A leaf, whose sum is one chain over rows [begin, end) from 0, and what happens to that sum.
struct SumStep {
  std::size_t begin = 0, end = 0;
  bool adds = false;  // the leaf's sum is added to the top of the stack; otherwise it is pushed
  std::uint32_t merges = 0;  // how often, after that, the two at the top are replaced by their sum
};

// The steps of one micro-batch over outputs that lie in memory as an array. stack[i] has room for a
// partial sum of each output. Before the steps, stack[0] to stack[depth_in - 1] hold the partial
// sums that earlier micro-batches left; after them, stack[0] to stack[depth_out - 1] hold those
// that this one leaves. The last micro-batch of a batch leaves one, the result, in stack[0].
struct GradientSum {
  std::span<const SumStep> steps;
  std::size_t depth_in = 0, depth_out = 1;
  float* stack[kSumStackMax] = {};
};

// Runs the steps for the N outputs that lie `offset` floats after the start of each stack entry.
// leaf(begin, end, out) writes the N sums of a leaf.
template <std::size_t N, class Leaf>
void run_sum(const GradientSum& sum, std::size_t offset, Leaf leaf) {
  float stack[kSumStackMax][N], leaf_sum[N];
  std::size_t depth = sum.depth_in;
  for (std::size_t i = 0; i < kSumStackMax; ++i)
    if (i < depth) std::memcpy(stack[i], sum.stack[i] + offset, sizeof stack[i]);
  for (const SumStep& step : sum.steps) {
    leaf(step.begin, step.end, leaf_sum);
    if (step.adds) {
      for (std::size_t i = 0; i < N; ++i) stack[depth - 1][i] += leaf_sum[i];
    } else {
      std::memcpy(stack[depth++], leaf_sum, sizeof leaf_sum);
    }
    for (std::uint32_t merge = 0; merge < step.merges; ++merge, --depth)
      for (std::size_t i = 0; i < N; ++i) stack[depth - 2][i] += stack[depth - 1][i];
  }
  for (std::size_t i = 0; i < kSumStackMax; ++i)
    if (i < depth) std::memcpy(sum.stack[i] + offset, stack[i], sizeof stack[i]);
}

}  // namespace troupe::kernels
