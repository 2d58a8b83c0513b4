#pragma once

#include <cstddef>
#include <vector>

// The scales of a matrix that are a tensor of their own: one for each block of it. Plain values.

namespace troupe::quant {

struct ScaleGrid {
  std::vector<float> values;  // (matrices, rows, columns) of the grid, row-major
  std::size_t rows = 1, columns = 1;
  // The size of the blocks of weights that share a scale; the last blocks of a row or a column may
  // be smaller.
  std::size_t block_rows = 1, block_columns = 1;
  std::size_t matrix_rows = 1;  // rows of each of the stacked matrices
  std::size_t first_row = 0;    // the row of the stack that is the caller's row 0
  std::size_t row_step = 1;     // the caller's rows are every row_step-th row from there on

  // Returns the scales of the caller's row `row`, a scale for each block_columns weights.
  const float* row(std::size_t row) const {
    const std::size_t at = first_row + row * row_step;
    return values.data() + (at / matrix_rows * rows + at % matrix_rows / block_rows) * columns;
  }
};

}  // namespace troupe::quant
