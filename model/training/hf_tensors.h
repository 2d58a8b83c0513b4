#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include <troupe/model/families/hf_names.h>
#include <troupe/model/training/parameters.h>

// How a Hugging Face folder stores the parameters of a model: names, shapes, row-major order, fused
// and transposed matrices, and the order of rotated pairs (neighbours in a GGUF file, halves in a
// folder). For saving weights and for comparing gradients. Pure.

namespace troupe::model {

struct HfTensor {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::vector<const Parameter*> parts;  // whose rows (a vector: values) follow each other
  bool transposed = false;              // stored as (inputs, outputs)
  // If not 0, the number of rows of a head. Its pairs are neighbours in the parameter, and are
  // stored half of `rotary_dim` apart; with `to_neighbours` it is the other way round.
  std::size_t head_dim = 0, rotary_dim = 0;
  bool to_neighbours = false;
};

// Returns the tensors of the model's folder, sorted by name.
std::vector<HfTensor> hf_tensors(const ModelConfig& config, const Parameters& parameters);

// Sets tensor->head_dim and rotary_dim if the rows of `spec` are rotated pairs of neighbours.
void set_rotation(const ModelConfig& config, const TensorSpec& spec, HfTensor* tensor);

// Returns an array of a parameter in its packed layout: its values, or its gradient.
using ParameterArray = std::function<const float*(const Parameter&)>;
// Returns the tensor's values as the file has them.
std::vector<float> hf_values(const HfTensor& tensor, const ParameterArray& array);
// Does the reverse: writes a file's values into the parts' arrays. There are as many `values` as
// the tensor has.
void set_hf_values(const HfTensor& tensor, std::span<const float> values,
                   const std::function<float*(const Parameter&)>& array);

}  // namespace troupe::model
