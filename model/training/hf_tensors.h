#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <troupe/model/training/parameters.h>

// How the parameters of a model lie in a Hugging Face folder: names, shapes, row-major order, fused
// and transposed matrices, and the order of rotated pairs (a GGUF file has neighbours, a folder
// halves). For saving weights and for comparing gradients. Pure.

namespace troupe::model {

struct HfTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::vector<const Parameter*> parts;  // whose rows (a vector: values) follow each other
  bool transposed = false;              // stored as (inputs, outputs)
  // Not 0: each head of this many rows, whose pairs are neighbours in the parameter, is stored with
  // its pairs half of `rotary_dim` apart.
  std::size_t head_dim = 0, rotary_dim = 0;
};

// Returns the tensors of the model's folder, sorted by name.
std::vector<HfTensor> hf_tensors(const ModelConfig& config, const Parameters& parameters);

// Gives an array of a parameter in its packed layout: its values, or its gradient.
using ParameterArray = std::function<const float*(const Parameter&)>;
// Returns the tensor's values as the file has them.
std::vector<float> hf_values(const HfTensor& tensor, const ParameterArray& array);

}  // namespace troupe::model
