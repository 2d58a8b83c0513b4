#pragma once

#include <cstddef>

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
  bool trained = true;     // else it is frozen: it has no gradient, and no update changes it
  // gradient[0] is the result of a batch's sum; the others are there while a batch in several
  // micro-batches needs them (kernels::GradientSum).
  AlignedBuffer gradient[kernels::kSumStackMax];
  AlignedBuffer first_moment, second_moment;  // of AdamW; made when it runs first

  float* values();
  const float* stored_values() const;
  const float* gradient_values() const {
    return reinterpret_cast<const float*>(gradient[0].data());
  }
  // Makes memory for `depth` entries of the stack of partial sums. Not inside a step.
  void reserve(std::size_t depth);
  // The stack for a micro-batch's part of a sum.
  kernels::GradientSum sum(const SumPart& part);
};

}  // namespace troupe::model
