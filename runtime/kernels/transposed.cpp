#include <algorithm>
#include <string>
#include <vector>

#include <troupe/runtime/kernels/transposed.h>

namespace troupe::kernels {
namespace {

constexpr std::size_t kGroupStep = kGroupRows * sizeof(float);  // bytes of a column of a group

// to[r][i] = from[i][r]: 16 columns of a group become 16 rows' lanes.
void transpose_block(const float* from, float* to) {
  for (std::size_t r = 0; r < kGroupRows; ++r)
    for (std::size_t i = 0; i < kGroupRows; ++i) to[r * kGroupRows + i] = from[i * kGroupRows + r];
}

}  // namespace

void transpose_groups(const PackedMatrix& w, std::size_t row_begin, std::size_t row_end,
                      std::size_t group_begin, std::size_t group_end, PackedMatrix* out) {
  TROUPE_CHECK(w.type == quant::Type::kF32 && row_begin % kGroupRows == 0,
               "row " + std::to_string(row_begin));
  out->type = quant::Type::kF32;
  out->columns = row_end - row_begin;
  out->rows = std::min(w.columns, group_end * kGroupRows) - group_begin * kGroupRows;
  out->groups = group_end - group_begin;
  out->group_bytes = out->columns * kGroupStep;
  TROUPE_CHECK(out->data.bytes() >= out->groups * out->group_bytes,
               std::to_string(out->data.bytes()));
  alignas(64) float edge[kGroupRows * kGroupRows];
  for (std::size_t group = group_begin; group < group_end; ++group) {
    auto* to =
        reinterpret_cast<float*>(out->data.data() + (group - group_begin) * out->group_bytes);
    const std::size_t column = group * kGroupRows;
    const std::size_t present = std::min(kGroupRows, w.columns - column);
    for (std::size_t row = row_begin; row < row_end; row += kGroupRows) {
      const auto* from =
          reinterpret_cast<const float*>(w.data.data() + row / kGroupRows * w.group_bytes) +
          column * kGroupRows;
      const std::size_t rows = std::min(kGroupRows, row_end - row);
      if (present == kGroupRows && rows == kGroupRows) {
        transpose_block(from, to + (row - row_begin) * kGroupRows);
        continue;
      }
      std::fill_n(edge, kGroupRows * kGroupRows, 0.0f);
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t i = 0; i < present; ++i)
          edge[r * kGroupRows + i] = from[i * kGroupRows + r];
      std::copy_n(edge, rows * kGroupRows, to + (row - row_begin) * kGroupRows);
    }
  }
}

void dequantize_groups(const PackedMatrix& w, std::size_t group_begin, std::size_t group_end,
                       float* out) {
  // `out` is written from its first value to its last: column by column, sixteen rows in each.
  std::vector<float> rows(kGroupRows * w.columns, 0.0f);
  for (std::size_t group = group_begin; group < group_end; ++group, out += kGroupRows * w.columns) {
    for (std::size_t r = 0; r < kGroupRows; ++r) {
      const std::size_t row = group * kGroupRows + r;
      if (row < w.rows) {
        unpack_row(w, row, rows.data() + r * w.columns);
      } else {
        std::fill_n(rows.data() + r * w.columns, w.columns, 0.0f);
      }
    }
    for (std::size_t k = 0; k < w.columns; ++k)
      for (std::size_t r = 0; r < kGroupRows; ++r)
        out[k * kGroupRows + r] = rows[r * w.columns + k];
  }
}

PackedMatrix dequantized(const PackedMatrix& w) {
  PackedMatrix out;
  out.type = quant::Type::kF32;
  out.rows = w.rows;
  out.columns = w.columns;
  out.groups = w.groups;
  out.group_bytes = w.columns * kGroupStep;
  out.data = AlignedBuffer(out.groups * out.group_bytes);
  dequantize_groups(w, 0, w.groups, reinterpret_cast<float*>(out.data.data()));
  return out;
}

}  // namespace troupe::kernels
