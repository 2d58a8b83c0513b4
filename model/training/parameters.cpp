#include <algorithm>
#include <atomic>
#include <span>
#include <utility>

#include <troupe/model/training/parameters.h>
#include <troupe/runtime/kernels/transposed.h>
#include <troupe/runtime/sha256.h>

namespace troupe::model {

bool keeps_format(const TensorSpec& spec) {
  return spec.rows != 0 &&
         (spec.layer != kNoLayer || spec.slot == kTokenEmbedding || spec.slot == kOutput);
}

Parameters::Parameters(const ModelConfig& config, std::unique_ptr<StageWeights> weights,
                       ThreadPool& pool, bool keeps_formats)
    : weights_(std::move(weights)) {
  const std::vector<TensorSpec> specs = stage_tensors(config, {0, config.layers});
  adapter_index_.assign(config.layers, std::vector<Adapter*>(kSlots));
  index_.assign(config.layers + 1, std::vector<std::size_t>(std::max<std::size_t>(kSlots, kEnds)));
  for (const TensorSpec& spec : specs) {
    const bool is_end = spec.layer == kNoLayer;
    if (is_end && spec.slot == kRopeFactors) continue;
    Parameter parameter;
    parameter.spec = spec;
    parameter.weight =
        is_end ? &weights_->ends[spec.slot] : &weights_->layers[spec.layer][spec.slot];
    parameter.decays = spec.rows != 0;
    parameters_.push_back(std::move(parameter));
    index_[is_end ? config.layers : spec.layer][spec.slot] = parameters_.size();
  }
  std::atomic<std::size_t> next{0};
  pool.run([&](int) {
    for (std::size_t i; (i = next.fetch_add(1)) < parameters_.size();) {
      kernels::PackedMatrix& matrix = parameters_[i].weight->matrix;
      const bool keeps = keeps_formats && keeps_format(parameters_[i].spec);
      if (matrix.rows != 0 && matrix.type != quant::Type::kF32 && !keeps)
        matrix = kernels::dequantized(matrix);
    }
  });
  for (Parameter& parameter : parameters_) {
    const kernels::PackedMatrix& matrix = parameter.weight->matrix;
    parameter.trained = matrix.rows == 0 || matrix.type == quant::Type::kF32;
    parameter.floats = matrix.rows != 0 ? matrix.groups * kernels::kGroupRows * matrix.columns
                                        : parameter.weight->vector.size();
  }
}

Parameter* Parameters::find(std::size_t layer, std::size_t slot) {
  const std::size_t at = index_[layer == kNoLayer ? index_.size() - 1 : layer][slot];
  return at == 0 ? nullptr : &parameters_[at - 1];
}

std::size_t Parameters::count() const {
  std::size_t count = 0;
  for (const Parameter& parameter : parameters_)
    count += std::max<std::size_t>(1, parameter.spec.rows) * parameter.spec.columns;
  return count;
}

std::vector<Parameter*> Parameters::trained() {
  std::vector<Parameter*> trained;
  for (Parameter& parameter : parameters_)
    if (parameter.trained) trained.push_back(&parameter);
  for (const std::unique_ptr<Adapter>& adapter : adapters_) {
    trained.push_back(&adapter->down);
    trained.push_back(&adapter->up);
  }
  return trained;
}

std::string Parameters::sha256() const {
  Sha256 hash;
  const auto add = [&](const Parameter& parameter) {
    const kernels::PackedMatrix& matrix = parameter.weight->matrix;
    if (matrix.rows != 0 && matrix.type != quant::Type::kF32)
      return hash.update({matrix.data.data(), matrix.groups * matrix.group_bytes});
    hash.update(std::as_bytes(std::span(parameter.stored_values(), parameter.floats)));
  };
  for (const Parameter& parameter : parameters_) add(parameter);
  for (const std::unique_ptr<Adapter>& adapter : adapters_) add(adapter->down), add(adapter->up);
  return hash.hex();
}

void Parameters::freeze() {
  for (Parameter& parameter : parameters_) parameter.trained = false;
}

void Parameters::add(std::unique_ptr<Adapter> adapter) {
  Adapter*& place = adapter_index_[adapter->layer][adapter->slot];
  TROUPE_CHECK(place == nullptr, adapter->up.spec.name);
  place = adapter.get();
  adapters_.push_back(std::move(adapter));
}

Adapter* Parameters::adapter(std::size_t layer, std::size_t slot) {
  return adapters_on_ ? adapter_index_[layer][slot] : nullptr;
}

std::size_t Parameters::quantized_floats_max(std::size_t block_rows) const {
  std::size_t most = 0;
  for (const Parameter& parameter : parameters_) {
    const kernels::PackedMatrix& matrix = parameter.weight->matrix;
    if (matrix.rows == 0 || matrix.type == quant::Type::kF32) continue;
    const std::size_t rows = matrix.groups * kernels::kGroupRows;
    most =
        std::max(most, matrix.columns *
                           (parameter.spec.layer == kNoLayer ? std::min(rows, block_rows) : rows));
  }
  return most;
}

std::size_t Parameters::rank_max() const {
  std::size_t rank = 0;
  for (const std::unique_ptr<Adapter>& adapter : adapters_) rank = std::max(rank, adapter->rank());
  return rank;
}

}  // namespace troupe::model
