#include <algorithm>
#include <atomic>
#include <cstring>
#include <span>
#include <utility>

#include <troupe/model/training/parameters.h>
#include <troupe/runtime/kernels/transposed.h>
#include <troupe/runtime/sha256.h>

namespace troupe::model {
namespace {

AlignedBuffer zeroed(std::size_t floats) {
  AlignedBuffer buffer(floats * sizeof(float));
  std::memset(buffer.data(), 0, floats * sizeof(float));
  return buffer;
}

}  // namespace

float* Parameter::values() {
  return weight->vector.empty() ? reinterpret_cast<float*>(weight->matrix.data.data())
                                : weight->vector.data();
}

const float* Parameter::stored_values() const {
  return weight->vector.empty() ? reinterpret_cast<const float*>(weight->matrix.data.data())
                                : weight->vector.data();
}

void Parameter::reserve(std::size_t depth) {
  for (std::size_t i = 0; i < depth; ++i)
    if (gradient[i].bytes() == 0) gradient[i] = zeroed((floats + 15) / 16 * 16);
}

kernels::GradientSum Parameter::sum(const SumPart& part) {
  float* stack[kernels::kSumStackMax];
  for (std::size_t i = 0; i < kernels::kSumStackMax; ++i)
    stack[i] = reinterpret_cast<float*>(gradient[i].data());
  return part.over(stack);
}

Parameters::Parameters(const ModelConfig& config, std::unique_ptr<StageWeights> weights,
                       ThreadPool& pool)
    : weights_(std::move(weights)) {
  const std::vector<TensorSpec> specs = stage_tensors(config, {0, config.layers});
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
      if (matrix.rows != 0 && matrix.type != quant::Type::kF32)
        matrix = kernels::dequantized(matrix);
    }
  });
  for (Parameter& parameter : parameters_) {
    const kernels::PackedMatrix& matrix = parameter.weight->matrix;
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

std::string Parameters::sha256() const {
  Sha256 hash;
  for (const Parameter& parameter : parameters_)
    hash.update(std::as_bytes(std::span(parameter.stored_values(), parameter.floats)));
  return hash.hex();
}

}  // namespace troupe::model
