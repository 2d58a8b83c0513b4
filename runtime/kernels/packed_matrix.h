#pragma once

#include <cstddef>

#include <troupe/runtime/machine/aligned_buffer.h>
#include <troupe/runtime/quant/format.h>
#include <troupe/runtime/quant/scale_grid.h>
#include <troupe/runtime/status.h>

// Weight matrices as the kernels read them: rows interleaved in groups, at the file's width. A
// stage packs its weights once when it loads; afterwards any thread may read them.

namespace troupe::kernels {

constexpr std::size_t kGroupRows = 16;  // rows of a weight matrix that are interleaved

// A weight matrix W (rows = outputs, columns = inputs) with kGroupRows rows interleaved, at the
// file's width: scales stay f16. Rows are padded with zeros to a whole group. The layout of each
// format is drawn in quant/<format>.cpp. Immutable after packing; any thread may read.
struct PackedMatrix {
  quant::Type type = quant::Type::kF32;
  std::size_t rows = 0, columns = 0;
  std::size_t groups = 0;  // ceil(rows / kGroupRows)
  std::size_t group_bytes = 0;
  AlignedBuffer data;
  // pack() says what the format of the file was. If it has no kernels (Format::packed_type), no
  // weight has changed by more than `read_error`; else that is 0.
  quant::Type file_type = quant::Type::kF32;
  float read_error = 0;
};
// Packs rows [row_begin, row_end) of `file_rows` (rows consecutive, as in the file).
// `first_row` is what messages and `scales` count rows from, if these are not the first of their
// matrix. `scales`, if the format's scales are a tensor of their own, cover all rows and columns.
//   Errors: kBadData when columns does not fit the format, `bytes` is not rows * row_bytes, or a
//   weight or a scale is not a finite number.
Result<PackedMatrix> pack(quant::Type type, const std::byte* file_rows, std::size_t bytes,
                          std::size_t rows, std::size_t columns, std::size_t first_row = 0,
                          const quant::ScaleGrid* scales = nullptr);
// out (columns) f32 = row `row` of w, exact. w lies on the host.
void unpack_row(const PackedMatrix& w, std::size_t row, float* out);

}  // namespace troupe::kernels
