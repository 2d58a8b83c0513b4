#include <troupe/model/convert/tensor_values.h>
#include <troupe/model/families/hf_names.h>
#include <troupe/model/files/weight_scales.h>

namespace troupe::model {
namespace {

// Returns the model's row that becomes row `row`.
std::size_t source_row(const TensorPlan& plan, std::size_t row) {
  if (plan.head_dim == 0) return row;
  return plan.to_neighbours ? folder_row(row, plan.head_dim, plan.rotary_dim)
                            : neighbour_row(row, plan.head_dim, plan.rotary_dim);
}

}  // namespace

Status PlannedTensor::add_part(const TensorSource& source, const std::string& name) {
  const TensorInfo* info = source.header().tensor(name);
  if (info == nullptr) return Status(Code::kNotFound, "tensor " + name + " is missing");
  Part part;
  part.format = quant::find(info->type);
  if (part.format == nullptr)
    return Status(Code::kFailedPrecondition,
                  "tensor " + name + " has the type " +
                      std::to_string(static_cast<std::uint32_t>(info->type)) +
                      ", which this version cannot read");
  part.columns = info->shape.size() < 2 ? 1 : info->shape.back();
  std::uint64_t count = 1;
  for (const std::uint64_t size : info->shape) count *= size;
  // A vector of blocks is one row.
  if (part.columns % part.format->block_elements != 0) part.columns = count;
  TROUPE_ASSIGN_OR_RETURN(part.row_bytes, quant::row_bytes(*part.format, part.columns));
  part.rows = part.columns == 0 ? 0 : count / part.columns;
  TROUPE_ASSIGN_OR_RETURN(part.bytes, source.bytes(name));
  if (part.format->repack_scaled != nullptr) {
    TROUPE_ASSIGN_OR_RETURN(const MatrixScales scales, find_scales(source.header(), *info));
    if (scales.tensor != nullptr) {
      TROUPE_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes,
                              source.bytes(scales.tensor->name));
      TROUPE_ASSIGN_OR_RETURN(part.scales, read_scales(scales, bytes));
    }
  }
  parts_.push_back(std::move(part));
  return Status::ok();
}

Result<PlannedTensor> PlannedTensor::open(const TensorSource& source, const TensorPlan& plan) {
  PlannedTensor tensor(plan);
  for (const std::string& part : plan.parts) TROUPE_RETURN_IF_ERROR(tensor.add_part(source, part));
  for (const Part& part : tensor.parts_) tensor.rows_ += part.rows;
  tensor.rows_ -= plan.first_row;
  tensor.columns_ = tensor.parts_.front().columns;
  if (!plan.turned) return tensor;
  const Part& part = tensor.parts_.front();
  tensor.whole_.resize(part.rows * part.columns);
  for (std::size_t row = 0; row < part.rows; ++row)
    part.read(row, tensor.whole_.data() + row * part.columns);
  std::swap(tensor.rows_, tensor.columns_);
  return tensor;
}

void PlannedTensor::Part::read(std::size_t row, float* out) const {
  const std::byte* from = bytes.data() + row * row_bytes;
  if (!scales) return format->dequantize(from, columns / format->block_elements, out);
  // A row with scales is rounded once, into the format with which it would be computed.
  const quant::Format& packed = *quant::find(format->packed_type);
  std::vector<std::byte> rounded(columns / packed.block_elements * packed.block_bytes);
  format->repack_scaled(from, columns, scales->row(row), scales->block_columns, rounded.data());
  packed.dequantize(rounded.data(), columns / packed.block_elements, out);
}

void PlannedTensor::read(std::size_t row, float* out) const {
  if (plan_->turned) {
    for (std::size_t column = 0; column < columns_; ++column)
      out[column] = whole_[column * rows_ + row];
  } else {
    std::size_t at = source_row(*plan_, row) + plan_->first_row;
    const Part* part = parts_.data();
    for (; at >= part->rows; ++part) at -= part->rows;
    part->read(at, out);
  }
  if (plan_->offset == 0.0f) return;
  for (std::size_t column = 0; column < columns_; ++column) out[column] += plan_->offset;
}

}  // namespace troupe::model
