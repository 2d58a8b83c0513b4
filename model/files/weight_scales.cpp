#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include <troupe/model/files/header_keys.h>
#include <troupe/model/files/weight_scales.h>
#include <troupe/runtime/text/utf8.h>

namespace troupe::model {
namespace {

Status misfit(const TensorInfo& tensor, const std::string& what) {
  return Status(Code::kBadData, "tensor " + in_quotes(tensor.name) + " " + what +
                                    "; take another file of the model");
}

std::string text_of(const std::vector<std::uint64_t>& shape) {
  std::string text;
  for (const std::uint64_t size : shape) text += (text.empty() ? "" : "x") + std::to_string(size);
  return text;
}

// Returns the rows (place 0) or columns (place 1) of a block, 0 if the header does not say.
std::uint64_t stated_block(const GgufHeader& header, std::size_t place) {
  const auto found = header.metadata.find(header_keys::kScaleBlock);
  if (found == header.metadata.end()) return 0;
  const auto* block = std::get_if<std::vector<std::int64_t>>(&found->second);
  if (block == nullptr || block->size() != 2 || (*block)[place] < 1) return 0;
  return static_cast<std::uint64_t>((*block)[place]);
}

// Returns how many of `count` rows or columns share one of `scales` scales, if they can.
std::optional<std::size_t> block_of(std::uint64_t count, std::uint64_t scales,
                                    std::uint64_t stated) {
  if (scales == 0) return std::nullopt;
  if (stated != 0 && (count - 1) / stated + 1 == scales) return stated;
  if (count % scales == 0) return count / scales;
  return std::nullopt;
}

}  // namespace

std::string scale_name(std::string_view name) {
  return std::string(name) + std::string(kScaleSuffix);
}

std::string_view scaled_name(std::string_view name) {
  if (!name.ends_with(kScaleSuffix)) return "";
  name.remove_suffix(kScaleSuffix.size());
  return name;
}

Result<MatrixScales> find_scales(const GgufHeader& header, const TensorInfo& matrix) {
  MatrixScales out;
  const TensorInfo* tensor = header.tensor(scale_name(matrix.name));
  if (tensor == nullptr) return out;
  const quant::Format* format = quant::find(matrix.type);
  if (format == nullptr || format->repack_scaled == nullptr)
    return misfit(*tensor, "holds scales, but the weights are " +
                               (format ? std::string(format->name) : "of an unknown type") +
                               ", which have none");
  const quant::Format* scale_format = quant::find(tensor->type);
  const bool is_split = matrix.type == quant::Type::kMXFP4_SPLIT;
  if (scale_format == nullptr || scale_format->block_elements != 1 ||
      (is_split ? tensor->type != quant::Type::kE8M0
                : scale_format->packed_type != scale_format->type))
    return misfit(*tensor, is_split ? "holds scales of MXFP4, which must be bytes (E8M0)"
                                    : "holds scales, which must be F32, F16 or BF16");
  const std::vector<std::uint64_t>&whole = matrix.shape, &shape = tensor->shape;
  const std::size_t dims = whole.size();
  const std::uint64_t columns = whole.back(), rows = dims > 1 ? whole[dims - 2] : 1;
  std::uint64_t matrices = 1, values = 1;
  for (std::size_t i = 0; i + 2 < dims; ++i) matrices *= whole[i];
  for (const std::uint64_t size : shape) values *= size;
  quant::ScaleGrid& grid = out.grid;
  out.tensor = tensor;
  grid.matrix_rows = rows;
  grid.block_rows = rows;
  grid.block_columns = columns;
  if (values == 1 && !is_split) {
    grid.matrix_rows = grid.block_rows = grid.block_columns = static_cast<std::size_t>(-1);
    return out;
  }
  if (shape.size() == 1 && shape[0] == (matrices > 1 ? matrices : rows) && !is_split) {
    if (matrices == 1) grid.rows = rows, grid.block_rows = 1;
    return out;
  }
  bool fits = shape.size() == dims && dims > 1;
  for (std::size_t i = 0; fits && i + 2 < dims; ++i) fits = shape[i] == whole[i];
  if (fits) {
    grid.rows = shape[dims - 2];
    grid.columns = shape[dims - 1];
    const auto block_rows = block_of(rows, grid.rows, stated_block(header, 0));
    const auto block_columns = block_of(columns, grid.columns, stated_block(header, 1));
    const bool is_block =
        !is_split || (block_rows == std::size_t{1} && block_columns == format->block_elements);
    if (block_rows && block_columns && is_block) {
      grid.block_rows = *block_rows;
      grid.block_columns = *block_columns;
      return out;
    }
  }
  return misfit(*tensor, "has the shape " + text_of(shape) +
                             ", which does not fit scales of weights of the shape " +
                             text_of(whole));
}

Result<quant::ScaleGrid> read_scales(const MatrixScales& scales, std::span<const std::byte> bytes) {
  const quant::Format& format = *quant::find(scales.tensor->type);
  quant::ScaleGrid grid = scales.grid;
  std::uint64_t count = 1;
  for (const std::uint64_t size : scales.tensor->shape) count *= size;
  if (bytes.size() != count * format.block_bytes)
    return misfit(*scales.tensor, "has " + std::to_string(bytes.size()) + " bytes instead of " +
                                      std::to_string(count * format.block_bytes));
  grid.values.resize(count);
  format.dequantize(bytes.data(), count, grid.values.data());
  for (std::size_t i = 0; i < count; ++i)
    if (!std::isfinite(grid.values[i]))
      return misfit(*scales.tensor, "holds a NaN or an infinity at " + std::to_string(i));
  return grid;
}

}  // namespace troupe::model
