#pragma once

#include <cstddef>
#include <memory>

#include <troupe/model/training/parameter.h>

// A low-rank adapter beside a matrix W of a layer, which stays as it is:
//   y = W x + bias + scale * B (A x)
// A is (rank, inputs), B is (outputs, rank). B begins as zero, so that at first the model computes
// the same as without the adapter. Source: Hu et al. 2021, section 4.1.

namespace troupe::model {

struct Adapter {
  // Makes an adapter of the matrix `target`, all zero.
  Adapter(const TensorSpec& target, std::size_t rank, float scale);

  const std::size_t layer, slot;  // of the matrix
  const float scale;              // alpha / rank, or alpha / sqrt(rank)
  // A is stored transposed, (inputs, rank), so that threads split its gradient and its products by
  // inputs: as `rank` rows, A would be one group of the packed layout, and only one thread would
  // have work.
  Parameter down;  // A^T
  Parameter up;    // B
  std::size_t rank() const { return up.spec.columns; }

  // Returns the value of A at (row of `rank`, input) or of B at (output, column of `rank`).
  float& a(std::size_t row, std::size_t input) { return at(down, input, row); }
  float& b(std::size_t output, std::size_t column) { return at(up, output, column); }

 private:
  static float& at(Parameter& parameter, std::size_t row, std::size_t column);
  Weight down_weight_, up_weight_;
};

// W += scale * B A: each element's sum over the rank is one chain of fused multiply-adds from 0, in
// order, then times `scale`. Any thread; rows [row_begin, row_end) of W alone are written.
void merge_rows(Adapter& adapter, Parameter& matrix, std::size_t row_begin, std::size_t row_end);

}  // namespace troupe::model
