#pragma once

#include <cstddef>

#include <troupe/runtime/machine/aligned_buffer.h>
#include <troupe/runtime/quant/format.h>
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
};
// Packs rows [row_begin, row_end) of `file_rows` (rows consecutive, as in the file).
// `first_row` is what messages count rows from, if these are not the first of their matrix.
//   Errors: kBadData when columns does not fit the format or `bytes` is not rows * row_bytes.
Result<PackedMatrix> pack(quant::Type type, const std::byte* file_rows, std::size_t bytes,
                          std::size_t rows, std::size_t columns, std::size_t first_row = 0);
// out (columns) f32 = row `row` of w, exact. w lies on the host.
void unpack_row(const PackedMatrix& w, std::size_t row, float* out);

}  // namespace troupe::kernels
