#include <array>
#include <string>
#include <vector>

#include <troupe/runtime/kernels/packed_matrix.h>
#include <troupe/runtime/machine/aligned_buffer.h>

namespace troupe::kernels {

static_assert(kGroupRows == quant::kPackRows);

Result<PackedMatrix> pack(quant::Type type, const std::byte* file_rows, std::size_t bytes,
                          std::size_t rows, std::size_t columns, std::size_t first_row) {
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
  const quant::Format* target = quant::find(format->packed_type);
  const bool repacks = target != format;
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t target_bytes, quant::row_bytes(*target, columns));
  std::vector<std::byte> repacked(repacks ? kGroupRows * target_bytes : 0);
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
      group_rows[i] = file_rows + (group * kGroupRows + i) * row_bytes;
      if (!repacks) continue;
      std::byte* row = repacked.data() + i * target_bytes;
      format->repack(group_rows[i], columns / format->block_elements, row);
      group_rows[i] = row;
    }
    if (!target->pack_group(group_rows.data(), columns,
                            packed.data.data() + group * packed.group_bytes)) {
      return Status(Code::kBadData, "a " + std::string(format->name) + " weight in rows " +
                                        std::to_string(first_row + group * kGroupRows) + " to " +
                                        std::to_string(first_row + (group + 1) * kGroupRows - 1) +
                                        " is not a finite number; take another file of the model");
    }
  }
  return packed;
}

void unpack_row(const PackedMatrix& w, std::size_t row, float* out) {
  TROUPE_CHECK(row < w.rows, "row " + std::to_string(row) + " of " + std::to_string(w.rows));
  TROUPE_CHECK(w.data.on_host(), "the CPU cannot read an accelerator's weights");
  quant::find(w.type)->unpack_row(w.data.data() + row / kGroupRows * w.group_bytes, w.columns,
                                  row % kGroupRows, out);
}

}  // namespace troupe::kernels
