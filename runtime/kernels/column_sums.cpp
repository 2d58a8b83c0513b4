#include <algorithm>

#include <troupe/runtime/kernels/column_sums.h>

namespace troupe::kernels {
namespace {

constexpr std::size_t kWidth = 16;

}  // namespace

void column_sums(const float* a, std::size_t columns, const GradientSum& sum,
                 std::size_t column_begin, std::size_t column_end) {
  for (std::size_t column = column_begin; column < column_end; column += kWidth) {
    const std::size_t present = std::min(kWidth, columns - column);
    run_sum<kWidth>(sum, column, [&](std::size_t begin, std::size_t end, float* out) {
      std::fill_n(out, kWidth, 0.0f);
      for (std::size_t row = begin; row < end; ++row)
        for (std::size_t i = 0; i < present; ++i) out[i] += a[row * columns + column + i];
    });
  }
}

void normed_column_sums(const float* a, const float* x, const float* mean, const float* inverse,
                        std::size_t columns, const GradientSum& sum, std::size_t column_begin,
                        std::size_t column_end) {
  for (std::size_t column = column_begin; column < column_end; column += kWidth) {
    const std::size_t present = std::min(kWidth, columns - column);
    run_sum<kWidth>(sum, column, [&](std::size_t begin, std::size_t end, float* out) {
      std::fill_n(out, kWidth, 0.0f);
      for (std::size_t row = begin; row < end; ++row) {
        const std::size_t at = row * columns + column;
        const float middle = mean == nullptr ? 0.0f : mean[row];
        for (std::size_t i = 0; i < present; ++i)
          out[i] += a[at + i] * ((x[at + i] - middle) * inverse[row]);
      }
    });
  }
}

}  // namespace troupe::kernels
