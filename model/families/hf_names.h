#pragma once

#include <cstddef>
#include <string>

#include <troupe/model/config/tensor_specs.h>
#include <troupe/model/families/family.h>

// The names of a model's tensors in its Hugging Face folder, and the order of their rows there.
// Pure.

namespace troupe::model {

// Returns the name of a tensor in a family's folders; nullptr if they have no such tensor.
const HfName* find_hf_name(const HfFolder& hf, const TensorSpec& spec);
// Returns the whole name. The head's own tensors are beside the model's, without the prefix.
std::string full_hf_name(const HfFolder& hf, const HfName& name, const TensorSpec& spec);

// Returns the name of a tensor in the model's folder, such as
// model.layers.0.self_attn.q_proj.weight.
std::string hf_name(const ModelConfig& config, const TensorSpec& spec);
// Says whether the folder stores the matrix as (inputs, outputs).
bool hf_is_transposed(const ModelConfig& config, const TensorSpec& spec);
// Returns the name of a matrix's module: hf_name without ".weight" at its end.
std::string hf_module(const ModelConfig& config, const TensorSpec& spec);
// Does the same for a model without a head, whose names have no prefix:
// encoder.layer.0.output.dense.
std::string hf_bare_module(const ModelConfig& config, const TensorSpec& spec);

// Says whether the tensor's rows are rotated: it is q or k, or the bias of one.
bool has_rotated_rows(const TensorSpec& spec);
// Says whether the rotated pairs of the tensor's rows are neighbours, as in GGUF files of the llama
// family. In a folder they are half of the rotary dimension apart.
bool has_neighbour_rows(const ModelConfig& config, const TensorSpec& spec);
// Returns the row of such a tensor that a folder stores as `row`.
std::size_t neighbour_row(std::size_t row, std::size_t head_dim, std::size_t rotary_dim);
// Does the reverse: returns the folder's row that is row `row` of such a tensor.
std::size_t folder_row(std::size_t row, std::size_t head_dim, std::size_t rotary_dim);

}  // namespace troupe::model
