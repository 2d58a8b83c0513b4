#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include <troupe/runtime/kernels/packed_matrix.h>
#include <troupe/runtime/machine/aligned_buffer.h>

namespace troupe::kernels {
namespace {

// Reads rows of a format without kernels into the format that replaces it, and measures how much
// that changes them.
class Repacker {
 public:
  Repacker(const quant::Format& from, std::size_t columns, const quant::ScaleGrid* scales)
      : from_(from), to_(*quant::find(from.packed_type)), columns_(columns), scales_(scales) {
    if (&from_ == &to_) return;
    row_bytes_ = columns / to_.block_elements * to_.block_bytes;
    rows_.resize(kGroupRows * row_bytes_);
    exact_.resize(columns);
    read_.resize(columns);
  }
  // Returns row `row` of the matrix, which is row `place` of its group.
  const std::byte* read(const std::byte* in, std::size_t place, std::size_t row) {
    if (&from_ == &to_) return in;
    std::byte* out = rows_.data() + place * row_bytes_;
    from_.dequantize(in, columns_ / from_.block_elements, exact_.data());
    if (scales_ == nullptr) {
      from_.repack(in, columns_ / from_.block_elements, out);
    } else {
      const float* scales = scales_->row(row);
      from_.repack_scaled(in, columns_, scales, scales_->block_columns, out);
      for (std::size_t k = 0; k < columns_; ++k) exact_[k] *= scales[k / scales_->block_columns];
    }
    to_.dequantize(out, columns_ / to_.block_elements, read_.data());
    for (std::size_t k = 0; k < columns_; ++k)
      error_ = std::max(error_, std::fabs(exact_[k] - read_[k]));
    return out;
  }
  float error() const { return error_; }

 private:
  const quant::Format& from_;
  const quant::Format& to_;
  const std::size_t columns_;
  const quant::ScaleGrid* scales_;
  std::size_t row_bytes_ = 0;
  std::vector<std::byte> rows_;
  std::vector<float> exact_, read_;
  float error_ = 0;
};

}  // namespace

static_assert(kGroupRows == quant::kPackRows);

Result<PackedMatrix> pack(quant::Type type, const std::byte* file_rows, std::size_t bytes,
                          std::size_t rows, std::size_t columns, std::size_t first_row,
                          const quant::ScaleGrid* scales) {
  const quant::Format* format = quant::find(type);
  if (format == nullptr) {
    return Status(Code::kBadData, "weights of type " +
                                      std::to_string(static_cast<std::uint32_t>(type)) +
                                      " are not supported; use a model file in another format");
  }
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t row_bytes, quant::row_bytes(*format, columns));
  if (row_bytes != 0 && (bytes % row_bytes != 0 || bytes / row_bytes != rows)) {
    return Status(Code::kBadData, std::to_string(rows) + " rows of " + std::to_string(columns) +
                                      " " + std::string(format->name) + " weights are not " +
                                      std::to_string(bytes) +
                                      " bytes; take another file of the model");
  }
  TROUPE_CHECK(scales == nullptr || format->repack_scaled != nullptr, std::string(format->name));
  const quant::Format* target = quant::find(format->packed_type);
  TROUPE_RETURN_IF_ERROR(quant::row_bytes(*target, columns).status());
  Repacker repacker(*format, columns, scales);
  PackedMatrix packed;
  packed.type = target->type;
  packed.rows = rows;
  packed.columns = columns;
  packed.groups = (rows + kGroupRows - 1) / kGroupRows;
  packed.group_bytes = target->packed_group_bytes(columns);
  packed.data = AlignedBuffer(packed.groups * packed.group_bytes);
  for (std::size_t group = 0; group < packed.groups; ++group) {
    std::array<const std::byte*, kGroupRows> group_rows{};
    for (std::size_t i = 0; i < kGroupRows && group * kGroupRows + i < rows; ++i) {
      const std::size_t row = group * kGroupRows + i;
      group_rows[i] = repacker.read(file_rows + row * row_bytes, i, first_row + row);
    }
    if (!target->pack_group(group_rows.data(), columns,
                            packed.data.data() + group * packed.group_bytes)) {
      return Status(Code::kBadData, "a " + std::string(format->name) + " weight in rows " +
                                        std::to_string(first_row + group * kGroupRows) + " to " +
                                        std::to_string(first_row + (group + 1) * kGroupRows - 1) +
                                        " is not a finite number; take another file of the model");
    }
  }
  packed.file_type = type;
  packed.read_error = repacker.error();
  return packed;
}

void unpack_row(const PackedMatrix& w, std::size_t row, float* out) {
  TROUPE_CHECK(row < w.rows, "row " + std::to_string(row) + " of " + std::to_string(w.rows));
  TROUPE_CHECK(w.data.on_host(), "the CPU cannot read an accelerator's weights");
  quant::find(w.type)->unpack_row(w.data.data() + row / kGroupRows * w.group_bytes, w.columns,
                                  row % kGroupRows, out);
}

}  // namespace troupe::kernels
