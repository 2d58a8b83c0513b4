#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/training/sum_plan.h>
#include <troupe/model/transformer/weights.h>

// The trainable tensors of a model: for each, where its values lie, and memory for its gradient and
// the optimizer's state, all in the packed layout of its values (kernels/packed_matrix.h), so that
// an update is one pass over arrays. Owned by one trainer.

namespace troupe::model {

// One tensor. A fused tensor of a file (attn_qkv) is three parameters.
struct Parameter {
  TensorSpec spec;
  Weight* weight = nullptr;
  std::size_t floats = 0;  // of `weight`, its padding included
  bool decays = true;      // weight decay applies to it: it is a matrix
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

class Parameters {
 public:
  // Takes the weights of a whole model; matrices become f32.
  Parameters(const ModelConfig& config, std::unique_ptr<StageWeights> weights, ThreadPool& pool);

  const StageWeights& weights() const { return *weights_; }
  std::vector<Parameter>& all() { return parameters_; }
  const std::vector<Parameter>& all() const { return parameters_; }
  // The parameter of a layer's slot or, with kNoLayer, of an end; nullptr if the model has none.
  Parameter* find(std::size_t layer, std::size_t slot);
  std::size_t count() const;  // number of values
  // The SHA-256 of all values, in the order of all(), as 64 hexadecimal digits.
  std::string sha256() const;

 private:
  std::unique_ptr<StageWeights> weights_;
  std::vector<Parameter> parameters_;
  std::vector<std::vector<std::size_t>> index_;  // [layer, or the number of layers][slot] -> + 1
};

}  // namespace troupe::model
