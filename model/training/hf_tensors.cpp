#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include <troupe/model/families/family.h>
#include <troupe/model/training/hf_tensors.h>

namespace troupe::model {
namespace {

// Returns the parameter's row that is stored as `row`.
std::size_t stored_row(const HfTensor& tensor, std::size_t row) {
  if (tensor.head_dim == 0) return row;
  return tensor.to_neighbours ? folder_row(row, tensor.head_dim, tensor.rotary_dim)
                              : neighbour_row(row, tensor.head_dim, tensor.rotary_dim);
}

std::size_t values_of(const HfTensor& tensor) {
  std::size_t count = 1;
  for (const std::uint64_t size : tensor.shape) count *= size;
  return count;
}

// Calls body(index in the packed layout, index in the file) for each value of a part.
template <class Body>
void for_each_value(const HfTensor& tensor, const Parameter& part, Body body) {
  const bool is_vector = part.spec.rows == 0;
  const std::size_t rows = is_vector ? part.spec.columns : part.spec.rows;
  const std::size_t columns = is_vector ? 1 : part.spec.columns;
  const std::size_t whole = values_of(tensor) / columns;
  for (std::size_t row = 0; row < rows; ++row) {
    const std::size_t source = stored_row(tensor, row), to_row = part.spec.first + row;
    const std::size_t group =
        source / kernels::kGroupRows * columns * kernels::kGroupRows + source % kernels::kGroupRows;
    for (std::size_t column = 0; column < columns; ++column)
      body(is_vector ? source : group + column * kernels::kGroupRows,
           tensor.transposed ? column * whole + to_row : to_row * columns + column);
  }
}

}  // namespace

void set_rotation(const ModelConfig& config, const TensorSpec& spec, HfTensor* tensor) {
  if (!has_neighbour_rows(config, spec)) return;
  tensor->head_dim = config.head_dim;
  tensor->rotary_dim = config.rotary_dim;
}

std::vector<HfTensor> hf_tensors(const ModelConfig& config, const Parameters& parameters) {
  const HfFolder& hf = find_family(config.family)->hf;
  std::map<std::string, HfTensor> tensors;
  for (const Parameter& parameter : parameters.all()) {
    const TensorSpec& spec = parameter.spec;
    const HfName* name = find_hf_name(hf, spec);
    TROUPE_CHECK(name != nullptr, spec.name);
    HfTensor& tensor = tensors[full_hf_name(hf, *name, spec)];
    tensor.parts.push_back(&parameter);
    tensor.transposed = name->transposed && spec.rows != 0;
    const std::size_t rows = spec.whole != 0  ? spec.whole
                             : spec.rows != 0 ? spec.rows
                                              : spec.columns;
    tensor.shape = {rows};
    if (spec.rows != 0) tensor.shape.push_back(spec.columns);
    if (tensor.transposed) std::swap(tensor.shape[0], tensor.shape[1]);
    set_rotation(config, spec, &tensor);
  }
  std::vector<HfTensor> sorted;
  for (auto& [name, tensor] : tensors) {
    tensor.name = name;
    std::sort(tensor.parts.begin(), tensor.parts.end(),
              [](const Parameter* a, const Parameter* b) { return a->spec.first < b->spec.first; });
    sorted.push_back(std::move(tensor));
  }
  return sorted;
}

std::vector<float> hf_values(const HfTensor& tensor, const ParameterArray& array) {
  std::vector<float> out(values_of(tensor));
  for (const Parameter* part : tensor.parts) {
    const float* from = array(*part);
    for_each_value(tensor, *part,
                   [&](std::size_t packed, std::size_t stored) { out[stored] = from[packed]; });
  }
  return out;
}

void set_hf_values(const HfTensor& tensor, std::span<const float> values,
                   const std::function<float*(const Parameter&)>& array) {
  TROUPE_CHECK(values.size() == values_of(tensor), tensor.name);
  for (const Parameter* part : tensor.parts) {
    float* to = array(*part);
    for_each_value(tensor, *part,
                   [&](std::size_t packed, std::size_t stored) { to[packed] = values[stored]; });
  }
}

}  // namespace troupe::model
