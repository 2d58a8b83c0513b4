#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/training/sum_plan.h>
#include <troupe/model/transformer/weights.h>

// A trainable tensor: where its values lie, and memory for its gradient and the optimizer's state,
// all in the packed layout of its values (kernels/packed_matrix.h), so that an update is one pass
// over arrays.

namespace troupe::model {

// One tensor. A fused tensor of a file (attn_qkv) is three parameters.
struct Parameter {
  TensorSpec spec;
  Weight* weight = nullptr;
  std::size_t floats = 0;  // of `weight`, its padding included
  bool decays = true;      // weight decay applies to it: it is a matrix
  // If false, the tensor is frozen: it has no gradient, and no update changes it.
  bool trained = true;
  // gradient[0] is the result of a batch's sum; the others are there while a batch in several
  // micro-batches needs them (kernels::GradientSum).
  AlignedBuffer gradient[kernels::kSumStackMax];
  AlignedBuffer first_moment, second_moment;  // of AdamW; made when the optimizer runs first

  // True if it is a table of which a batch reads some rows, and which has no other gradient. Its
  // groups of rows (kernels::kGroupRows each) are then updated when they are read
  // (Optimizer::catch_up).
  bool is_looked_up = false;
  // For such a table: the groups that the last batch has read, in order. The gradients of other
  // groups are 0.
  std::vector<std::size_t> gradient_groups;
  // For such a table: the number of updates that each group has had; empty if all groups have had
  // all updates.
  std::vector<std::uint64_t> group_updates;
  std::size_t group_floats() const { return weight->matrix.columns * kernels::kGroupRows; }

  float* values();
  const float* stored_values() const;
  const float* gradient_values() const {
    return reinterpret_cast<const float*>(gradient[0].data());
  }
  // Makes memory for `depth` entries of the stack of partial sums. Not inside a step.
  void reserve(std::size_t depth);
  // Returns the stack for a micro-batch's part of a sum.
  kernels::GradientSum sum(const SumPart& part);
};

}  // namespace troupe::model
