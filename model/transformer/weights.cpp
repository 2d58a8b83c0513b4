#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <optional>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/files/weight_scales.h>
#include <troupe/model/transformer/weights.h>

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

bool is_transposed(const GgufHeader& header, const std::string& name) {
  const auto found = header.metadata.find(header_keys::kTransposed);
  if (found == header.metadata.end()) return false;
  const auto* names = std::get_if<std::vector<std::string>>(&found->second);
  return names != nullptr && std::binary_search(names->begin(), names->end(), name);
}

// Checks that the tensor is present and has the right type and shape. Its other fields were checked
// with the header.
Result<const TensorInfo*> find_tensor(const GgufHeader& header, const TensorSpec& spec) {
  const TensorInfo* info = header.tensor(spec.name);
  if (info == nullptr) return bad(spec, "is missing; take another file of the model");
  const bool is_vector = spec.rows == 0;
  const std::size_t whole = spec.whole != 0 ? spec.whole : is_vector ? spec.columns : spec.rows;
  std::vector<std::uint64_t> expected{whole};
  if (spec.stacked != 0)
    expected = {spec.stacked, (is_vector ? spec.columns : spec.rows) * spec.step};
  if (!is_vector) expected.push_back(spec.columns);
  const bool transposed = !is_vector && is_transposed(header, spec.name);
  if (transposed) std::swap(expected[expected.size() - 2], expected.back());
  // A matrix of one row may also be a vector.
  const bool is_row = spec.rows == 1 && info->shape == std::vector<std::uint64_t>{spec.columns};
  if (info->shape != expected && !is_row)
    return bad(spec, "has the shape " + shape_text(info->shape) +
                         ", but the configuration asks for " + shape_text(expected) +
                         "; take another file of the model");
  const quant::Format* format = quant::find(info->type);
  if (format == nullptr)
    return bad(spec, "has the type " + std::to_string(static_cast<std::uint32_t>(info->type)) +
                         ", which this version cannot compute with");
  if ((is_vector || transposed) && format->block_elements != 1)
    return bad(spec, "has the type " + std::string(format->name) +
                         ", but must be one of single values, such as F32");
  if (format->repack_scaled == nullptr && format->packed_type == format->type) return info;
  TROUPE_ASSIGN_OR_RETURN(const MatrixScales scales, find_scales(header, *info));
  const bool is_one = scales.grid.rows == 1 && scales.grid.columns == 1;
  if (scales.tensor != nullptr && (is_vector || (transposed && !is_one)))
    return bad(spec,
               "has scales, which " +
                   std::string(is_vector ? "vectors" : "matrices that are stored transposed") +
                   " cannot have; take another file of the model");
  return info;
}

Status load_vector(const TensorSpec& spec, quant::Type type, std::span<const std::byte> bytes,
                   std::vector<float>* out) {
  const quant::Format& format = *quant::find(type);
  const std::size_t whole = spec.whole != 0 ? spec.whole : spec.columns;
  if (bytes.size() != whole * format.block_bytes)
    return bad(spec, "has " + std::to_string(bytes.size()) + " bytes instead of " +
                         std::to_string(whole * format.block_bytes));
  out->resize(spec.columns);
  const std::byte* const from = bytes.data() + spec.first * format.block_bytes;
  if (spec.step == 1) format.dequantize(from, spec.columns, out->data());
  for (std::size_t i = 0; spec.step != 1 && i < spec.columns; ++i)
    format.dequantize(from + i * spec.step * format.block_bytes, 1, out->data() + i);
  if (spec.offset != 0.0f)
    for (float& value : *out) value += spec.offset;
  for (std::size_t i = 0; i < spec.columns; ++i)
    if (!std::isfinite((*out)[i]))
      return bad(spec, "holds a NaN or an infinity at " + std::to_string(i) +
                           "; take another file of the model");
  return Status::ok();
}

// Returns the rows of `spec` from a tensor that the file has as (columns, whole), or as stacked
// matrices each of which is transposed.
std::vector<std::byte> transpose(const TensorSpec& spec, std::size_t element_bytes,
                                 std::span<const std::byte> bytes) {
  const std::size_t whole = spec.whole != 0 ? spec.whole : spec.rows;
  const std::size_t matrix_rows = spec.stacked != 0 ? whole / spec.stacked : whole;
  const std::byte* const matrix =
      bytes.data() + spec.first / matrix_rows * matrix_rows * spec.columns * element_bytes;
  const std::size_t first = spec.first % matrix_rows;
  std::vector<std::byte> out(spec.rows * spec.columns * element_bytes);
  for (std::size_t row = 0; row < spec.rows; ++row)
    for (std::size_t column = 0; column < spec.columns; ++column)
      std::memcpy(out.data() + (row * spec.columns + column) * element_bytes,
                  matrix + (column * matrix_rows + first + row * spec.step) * element_bytes,
                  element_bytes);
  return out;
}

// Returns every spec.step-th row of a tensor from spec.first on.
std::vector<std::byte> take_rows(const TensorSpec& spec, std::size_t row_bytes,
                                 std::span<const std::byte> bytes) {
  std::vector<std::byte> out(spec.rows * row_bytes);
  for (std::size_t row = 0; row < spec.rows; ++row)
    std::memcpy(out.data() + row * row_bytes,
                bytes.data() + (spec.first + row * spec.step) * row_bytes, row_bytes);
  return out;
}

// Packs a matrix piece by piece and copies each piece to the accelerator, so that the host holds
// one packed piece at a time.
Status pack_there(const TensorSpec& spec, quant::Type type, std::span<const std::byte> bytes,
                  const quant::ScaleGrid* scales, Accelerator& accelerator,
                  kernels::PackedMatrix* out) {
  constexpr std::size_t kPieceBytes = std::size_t{8} << 20;
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t row_bytes,
                          quant::row_bytes(*quant::find(type), spec.columns));
  if (row_bytes == 0 || bytes.size() != spec.rows * row_bytes)
    return Status(Code::kBadData, "it has " + std::to_string(bytes.size()) + " bytes instead of " +
                                      std::to_string(spec.rows * row_bytes) +
                                      "; take another file of the model");
  const std::size_t piece =
      std::max<std::size_t>(kPieceBytes / row_bytes / kernels::kGroupRows, 1) * kernels::kGroupRows;
  for (std::size_t row = 0; row < spec.rows; row += piece) {
    const std::size_t count = std::min(piece, spec.rows - row);
    TROUPE_ASSIGN_OR_RETURN(const kernels::PackedMatrix packed,
                            kernels::pack(type, bytes.data() + row * row_bytes, count * row_bytes,
                                          count, spec.columns, row, scales));
    out->file_type = packed.file_type;
    out->read_error = std::max(out->read_error, packed.read_error);
    if (row == 0) {
      out->type = packed.type;
      out->rows = spec.rows;
      out->columns = spec.columns;
      out->groups = (spec.rows + kernels::kGroupRows - 1) / kernels::kGroupRows;
      out->group_bytes = packed.group_bytes;
      TROUPE_ASSIGN_OR_RETURN(out->data, accelerator.allocate(out->groups * out->group_bytes));
    }
    TROUPE_RETURN_IF_ERROR(
        accelerator.upload(packed.data.data(), packed.groups * packed.group_bytes,
                           out->data.data() + row / kernels::kGroupRows * packed.group_bytes));
  }
  return Status::ok();
}

Status load_matrix(const TensorSpec& spec, quant::Type type, bool transposed,
                   std::span<const std::byte> bytes, const quant::ScaleGrid* scales,
                   Accelerator* accelerator, kernels::PackedMatrix* out) {
  std::vector<std::byte> turned;
  if (spec.whole != 0 || transposed) {
    TROUPE_ASSIGN_OR_RETURN(const std::uint64_t row_bytes,
                            quant::row_bytes(*quant::find(type), spec.columns));
    const std::size_t whole = spec.whole != 0 ? spec.whole : spec.rows;
    if (bytes.size() != whole * row_bytes)
      return bad(spec, "has " + std::to_string(bytes.size()) + " bytes instead of " +
                           std::to_string(whole * row_bytes));
    if (transposed) {
      turned = transpose(spec, quant::find(type)->block_bytes, bytes);
      bytes = turned;
    } else if (spec.step != 1) {
      turned = take_rows(spec, row_bytes, bytes);
      bytes = turned;
    } else {
      bytes = bytes.subspan(spec.first * row_bytes, spec.rows * row_bytes);
    }
  }
  if (accelerator != nullptr)
    return pack_there(spec, type, bytes, scales, *accelerator, out)
        .with_context("tensor " + spec.name);
  auto packed = kernels::pack(type, bytes.data(), bytes.size(), spec.rows, spec.columns, 0, scales);
  if (!packed.is_ok()) return packed.status().with_context("tensor " + spec.name);
  *out = std::move(*packed);
  return Status::ok();
}

// Reads the scales of a matrix, if they are a tensor of their own, for the rows of `spec`.
Result<std::optional<quant::ScaleGrid>> scales_of(const TensorSource& source,
                                                  const TensorSpec& spec, const TensorInfo& info) {
  std::optional<quant::ScaleGrid> grid;
  if (quant::find(info.type)->repack_scaled == nullptr) return grid;
  TROUPE_ASSIGN_OR_RETURN(const MatrixScales scales, find_scales(source.header(), info));
  if (scales.tensor == nullptr) return grid;
  TROUPE_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes,
                          source.bytes(scales.tensor->name));
  TROUPE_ASSIGN_OR_RETURN(grid, read_scales(scales, bytes));
  grid->first_row = spec.first;
  grid->row_step = spec.step;
  source.drop(scales.tensor->name);
  return grid;
}

Status read_tensor(const TensorSource& source, const TensorSpec& spec, Accelerator* accelerator,
                   Weight* weight) {
  TROUPE_ASSIGN_OR_RETURN(const TensorInfo* info, find_tensor(source.header(), spec));
  TROUPE_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, source.bytes(spec.name));
  if (spec.rows == 0) {
    TROUPE_RETURN_IF_ERROR(load_vector(spec, info->type, bytes, &weight->vector));
  } else {
    TROUPE_ASSIGN_OR_RETURN(const std::optional<quant::ScaleGrid> scales,
                            scales_of(source, spec, *info));
    TROUPE_RETURN_IF_ERROR(load_matrix(spec, info->type, is_transposed(source.header(), spec.name),
                                       bytes, scales ? &*scales : nullptr, accelerator,
                                       &weight->matrix));
  }
  source.drop(spec.name);
  return Status::ok();
}

// Names the file in the message if the error is about its content.
Status load_tensor(const TensorSource& source, const TensorSpec& spec, Accelerator* accelerator,
                   Weight* weight) {
  const Status status = read_tensor(source, spec, accelerator, weight);
  return status.code() == Code::kBadData ? status.with_context(source.where(spec.name)) : status;
}

// Refuses factors below 1, with which the angles would become larger than the tables can hold.
Status check_rope_factors(const Weight& factors, const std::string& name) {
  for (const float factor : factors.vector)
    if (!(factor >= 1.0f))
      return Status(Code::kBadData, "tensor " + name + " holds " + std::to_string(factor) +
                                        ", expected factors of 1 or more; take another "
                                        "file of the model");
  return Status::ok();
}

// Adds a matrix that was just packed to the changes of formats, if its format is now another one.
void add_change(const kernels::PackedMatrix& matrix, std::vector<FormatChange>* changes) {
  if (matrix.rows == 0 || matrix.file_type == matrix.type) return;
  const auto same = [&](const FormatChange& one) { return one.from == matrix.file_type; };
  auto change = std::find_if(changes->begin(), changes->end(), same);
  if (change == changes->end())
    change = changes->insert(change, FormatChange{matrix.file_type, matrix.type});
  const quant::Format &from = *quant::find(matrix.file_type), &to = *quant::find(matrix.type);
  const std::uint64_t elements = std::uint64_t{matrix.rows} * matrix.columns;
  change->file_bytes += elements / from.block_elements * from.block_bytes;
  change->bytes += elements / to.block_elements * to.block_bytes;
  change->error = std::max(change->error, matrix.read_error);
}

}  // namespace

std::string changes_text(const StageWeights& weights) {
  std::string text;
  for (const FormatChange& change : weights.changes) {
    char numbers[160];
    std::snprintf(numbers, sizeof numbers,
                  " in memory (%.1f MB of the file take %.1f MB), by which no weight changes by "
                  "more than %.2g",
                  static_cast<double>(change.file_bytes) / 1e6,
                  static_cast<double>(change.bytes) / 1e6, static_cast<double>(change.error));
    text += (text.empty() ? "" : "; ") + std::string(quant::find(change.from)->name) + " becomes " +
            std::string(quant::find(change.to)->name) + numbers;
  }
  return text;
}

Weight Weight::share() const {
  Weight same;
  same.matrix.type = matrix.type;
  same.matrix.rows = matrix.rows;
  same.matrix.columns = matrix.columns;
  same.matrix.groups = matrix.groups;
  same.matrix.group_bytes = matrix.group_bytes;
  same.matrix.data = matrix.data.share();
  same.vector = vector;
  return same;
}

Weight& StageWeights::at(const TensorSpec& spec) {
  if (spec.layer == kNoLayer) return ends[spec.slot];
  const std::size_t layer = spec.layer - range.begin;
  if (spec.adapter != AdapterPart::kNone) {
    AdapterWeights& adapter = adapters[layer][spec.slot];
    return spec.adapter == AdapterPart::kA ? adapter.a : adapter.b;
  }
  return spec.expert == kNoExpert ? layers[layer][spec.slot]
                                  : experts[layer][spec.expert][spec.slot];
}

const Weight* StageWeights::find(const TensorSpec& spec) const {
  const bool end = spec.layer == kNoLayer;
  if (!end && (spec.layer < range.begin || spec.layer >= range.end)) return nullptr;
  if (spec.adapter != AdapterPart::kNone && adapters.empty()) return nullptr;
  const Weight& weight = const_cast<StageWeights*>(this)->at(spec);
  return weight.empty() ? nullptr : &weight;
}

Status check_tensors(const GgufHeader& header, const ModelConfig& config) {
  for (const TensorSpec& spec : stage_tensors(config, {0, config.layers}))
    TROUPE_RETURN_IF_ERROR(find_tensor(header, spec).status());
  return Status::ok();
}

Result<std::unique_ptr<StageWeights>> load_weights(const TensorSource& source,
                                                   const ModelConfig& config, LayerRange range,
                                                   ThreadPool& pool,
                                                   std::span<const StageWeights* const> siblings,
                                                   Accelerator* accelerator) {
  const std::vector<TensorSpec> specs = stage_tensors(config, range);
  auto weights = std::make_unique<StageWeights>();
  weights->range = range;
  weights->layers.resize(range.end - range.begin);
  weights->experts.resize(config.experts > 0 ? weights->layers.size() : 0);
  weights->adapters.resize(config.adapter_ranks.empty() ? 0 : weights->layers.size());
  for (std::size_t layer = 0; layer < weights->experts.size(); ++layer)
    if (config.has_experts(range.begin + layer))
      weights->experts[layer] = std::vector<std::array<Weight, kExpertSlots>>(config.experts);
  std::vector<Weight*> targets;
  for (const TensorSpec& spec : specs) targets.push_back(&weights->at(spec));
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const Weight* packed = nullptr;
    for (const StageWeights* sibling : siblings)
      if (packed == nullptr) packed = sibling->find(specs[i]);
    packed != nullptr ? (void)(*targets[i] = packed->share()) : order.push_back(i);
  }
  // Begin with the largest, so that no thread is left alone with it at the end.
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return specs[a].rows * specs[a].columns > specs[b].rows * specs[b].columns;
  });
  std::vector<Status> outcomes(specs.size());
  std::atomic<std::size_t> next{0};
  if (!order.empty())
    pool.run([&](int) {
      for (std::size_t i; (i = next.fetch_add(1)) < order.size();)
        outcomes[order[i]] = load_tensor(source, specs[order[i]], accelerator, targets[order[i]]);
    });
  for (Status& outcome : outcomes) TROUPE_RETURN_IF_ERROR(outcome);
  const std::string rope_name =
      config.rope_short_factors ? "rope_factors_short.weight" : "rope_freqs.weight";
  const Status factors = check_rope_factors(weights->ends[kRopeFactors], rope_name);
  if (!factors.is_ok()) return factors.with_context(source.where(rope_name));
  for (std::size_t layer = 0; layer < weights->adapters.size(); ++layer)
    for (std::size_t slot = 0; slot < kSlots; ++slot)
      if (const AdapterWeights& adapter = weights->adapters[layer][slot]; !adapter.b.empty())
        weights->layers[layer][slot].adapter = &adapter;
  for (const std::size_t i : order) add_change(targets[i]->matrix, &weights->changes);
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
