#include <cmath>
#include <cstring>

#include <troupe/model/training/adapter.h>

namespace troupe::model {
namespace {

void make_zero(Parameter* parameter, Weight* weight, const TensorSpec& target, const char* suffix,
               std::size_t rows, std::size_t columns) {
  kernels::PackedMatrix& matrix = weight->matrix;
  matrix.type = quant::Type::kF32;
  matrix.rows = rows;
  matrix.columns = columns;
  matrix.groups = (rows + kernels::kGroupRows - 1) / kernels::kGroupRows;
  matrix.group_bytes = columns * kernels::kGroupRows * sizeof(float);
  matrix.data = AlignedBuffer(matrix.groups * matrix.group_bytes);
  std::memset(matrix.data.data(), 0, matrix.groups * matrix.group_bytes);
  parameter->spec = target;
  parameter->spec.name = target.name + suffix;
  parameter->spec.rows = rows;
  parameter->spec.columns = columns;
  parameter->weight = weight;
  parameter->floats = matrix.groups * kernels::kGroupRows * columns;
}

}  // namespace

Adapter::Adapter(const TensorSpec& target, std::size_t rank, float scale)
    : layer(target.layer), slot(target.slot), scale(scale) {
  make_zero(&down, &down_weight_, target, ".lora_a", target.columns, rank);
  make_zero(&up, &up_weight_, target, ".lora_b", target.rows, rank);
}

float& Adapter::at(Parameter& parameter, std::size_t row, std::size_t column) {
  return parameter.values()[(row / kernels::kGroupRows * parameter.spec.columns + column) *
                                kernels::kGroupRows +
                            row % kernels::kGroupRows];
}

void merge_rows(Adapter& adapter, Parameter& matrix, std::size_t row_begin, std::size_t row_end) {
  const std::size_t columns = matrix.spec.columns, rank = adapter.rank();
  for (std::size_t row = row_begin; row < row_end; ++row) {
    float* out = matrix.values() + row / kernels::kGroupRows * columns * kernels::kGroupRows +
                 row % kernels::kGroupRows;
    for (std::size_t column = 0; column < columns; ++column) {
      float sum = 0.0f;
      for (std::size_t i = 0; i < rank; ++i)
        sum = std::fma(adapter.b(row, i), adapter.a(i, column), sum);
      out[column * kernels::kGroupRows] += adapter.scale * sum;
    }
  }
}

}  // namespace troupe::model
