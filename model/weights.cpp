#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>

#include <troupe/model/weights.h>

namespace troupe::model {
namespace {

Status bad(const TensorSpec& spec, const std::string& what) {
  return Status(Code::kBadData, "tensor " + spec.name + " " + what);
}

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text;
  for (const std::uint64_t n : shape) {
    if (!text.empty()) text += 'x';
    text += std::to_string(n);
  }
  return text;
}

// Presence, type and shape; what the file says otherwise was checked with the header.
Result<const TensorInfo*> find_tensor(const GgufHeader& header, const TensorSpec& spec) {
  const TensorInfo* info = header.tensor(spec.name);
  if (info == nullptr) return bad(spec, "is missing from the model file; fetch the file again");
  const bool is_vector = spec.rows == 0;
  const std::vector<std::uint64_t> expected =
      is_vector ? std::vector<std::uint64_t>{spec.columns}
                : std::vector<std::uint64_t>{spec.rows, spec.columns};
  if (info->shape != expected)
    return bad(spec, "has the shape " + shape_text(info->shape) +
                         ", but the configuration asks for " + shape_text(expected));
  const quant::Format* format = quant::find(info->type);
  if (format == nullptr)
    return bad(spec, "has the type " + std::to_string(static_cast<std::uint32_t>(info->type)) +
                         ", which this version cannot compute with");
  if (is_vector && info->type != quant::Type::kF32)
    return bad(spec, "has the type " + std::string(format->name) + ", but must be F32");
  return info;
}

Status load_tensor(const TensorSource& source, const TensorSpec& spec, Weight* weight) {
  TROUPE_ASSIGN_OR_RETURN(const TensorInfo* info, find_tensor(source.header(), spec));
  TROUPE_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, source.bytes(spec.name));
  if (spec.rows == 0) {
    if (bytes.size() != spec.columns * sizeof(float))
      return bad(spec, "has " + std::to_string(bytes.size()) + " bytes instead of " +
                           std::to_string(spec.columns * sizeof(float)));
    weight->vector.resize(spec.columns);
    std::memcpy(weight->vector.data(), bytes.data(), bytes.size());
    for (std::size_t i = 0; i < spec.columns; ++i)
      if (!std::isfinite(weight->vector[i]))
        return bad(spec, "holds a NaN or an infinity at " + std::to_string(i) +
                             "; the model file is damaged");
  } else {
    auto packed = kernels::pack(info->type, bytes.data(), bytes.size(), spec.rows, spec.columns);
    if (!packed.is_ok()) return packed.status().with_context("tensor " + spec.name);
    weight->matrix = std::move(*packed);
  }
  source.drop(spec.name);
  return Status::ok();
}

bool has_first(LayerRange range) { return range.begin == 0; }
bool has_last(const ModelConfig& config, LayerRange range) { return range.end == config.layers; }

}  // namespace

std::vector<TensorSpec> stage_tensors(const Family& family, const ModelConfig& config,
                                      LayerRange range) {
  std::vector<TensorSpec> specs;
  for (std::size_t layer = range.begin; layer < range.end; ++layer)
    for (TensorSpec& spec : family.layer_tensors(config, layer)) specs.push_back(std::move(spec));
  const bool last = has_last(config, range);
  if (has_first(range) || (last && config.tied_embedding))
    specs.push_back({"token_embd.weight", config.vocabulary, config.channels});
  if (last) specs.push_back({"output_norm.weight", 0, config.channels});
  if (last && !config.tied_embedding)
    specs.push_back({"output.weight", config.vocabulary, config.channels});
  return specs;
}

Result<std::unique_ptr<StageWeights>> load_weights(const TensorSource& source, const Family& family,
                                                   const ModelConfig& config, LayerRange range,
                                                   ThreadPool& pool) {
  const std::vector<TensorSpec> specs = stage_tensors(family, config, range);
  auto weights = std::make_unique<StageWeights>();
  weights->range = range;
  std::vector<Weight*> targets;
  for (std::size_t layer = range.begin; layer < range.end; ++layer) {
    auto& slots = weights->layers.emplace_back(family.layer_tensors(config, layer).size());
    for (Weight& weight : slots) targets.push_back(&weight);
  }
  for (std::size_t i = targets.size(); i < specs.size(); ++i)
    targets.push_back(specs[i].name == "token_embd.weight"    ? &weights->embedding
                      : specs[i].name == "output_norm.weight" ? &weights->output_norm
                                                              : &weights->output);
  // The largest first, so that no thread is left alone with it at the end.
  std::vector<std::size_t> order(specs.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return specs[a].rows * specs[a].columns > specs[b].rows * specs[b].columns;
  });
  std::vector<Status> outcomes(specs.size());
  std::atomic<std::size_t> next{0};
  pool.run([&](int) {
    for (std::size_t i; (i = next.fetch_add(1)) < order.size();)
      outcomes[order[i]] = load_tensor(source, specs[order[i]], targets[order[i]]);
  });
  for (Status& outcome : outcomes) TROUPE_RETURN_IF_ERROR(outcome);
  for (const Weight* weight : targets) {
    weights->bytes += weight->matrix.data.bytes() + weight->vector.size() * sizeof(float);
    if (!weight->vector.empty()) continue;
    const RowKind rows{weight->matrix.columns, kernels::activation_kind(weight->matrix.type)};
    if (!weights->multiplies(rows.columns, rows.kind)) weights->rows_multiplied.push_back(rows);
    weights->any_quantized |= rows.kind != quant::ActivationKind::kFloats;
  }
  return weights;
}

}  // namespace troupe::model
