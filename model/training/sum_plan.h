#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <troupe/runtime/kernels/sum_steps.h>

// The shape of every sum over the rows of a global batch (docs/training.md): leaves of up to
// kLeafRows positions of one example, in kSumSlots slots of consecutive examples; a slot is a chain
// over its leaves, and the slots meet in a binary tree. The shape depends on the lengths of the
// examples alone, never on how they are grouped into micro-batches. Pure.

namespace troupe::model {

constexpr std::size_t kLeafRows = 256;
constexpr std::size_t kSumSlots = 8;

// Up to kLeafRows positions of an example, counted from its first token.
struct Leaf {
  std::size_t example = 0;  // in the global batch
  std::size_t first = 0;    // position in the example
  std::size_t slot = 0;
  std::size_t rows = 0;  // that take part in a sum; a leaf without any takes no part
};

// Cuts examples of these lengths into leaves. An example lies in one slot, that of its first leaf:
// leaf j of N is in slot j * kSumSlots / N.
std::vector<Leaf> cut_leaves(std::span<const std::size_t> lengths);

// The part of a sum that one micro-batch computes.
struct SumPart {
  std::vector<kernels::SumStep> steps;  // rows are counted from the micro-batch's first
  std::size_t rows = 0;
  std::size_t depth_in = 0, depth_out = 0;

  kernels::GradientSum over(std::span<float* const> stack) const;
  // Does the same for rows each of which counts as `times` rows.
  SumPart repeated(std::size_t times) const;
};

class SumPlan {
 public:
  explicit SumPlan(std::span<const Leaf> leaves);
  // Returns the steps of examples [begin, end) of the global batch.
  SumPart part(std::size_t begin, std::size_t end) const;
  bool empty() const { return steps_.empty(); }

 private:
  struct Step {
    std::size_t example, rows;
    bool adds;
    std::uint32_t merges;
    std::size_t depth_before;
  };
  std::vector<Step> steps_;
};

}  // namespace troupe::model
