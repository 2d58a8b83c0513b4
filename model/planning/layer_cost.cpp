#include <algorithm>

#include <troupe/model/planning/layer_cost.h>

namespace troupe::model {

StepCost LayerCost::of(std::size_t layers) const {
  if (few.layers == 0 || few.layers >= many.layers) return many;
  const double at = std::clamp(
      (static_cast<double>(layers) - few.layers) / static_cast<double>(many.layers - few.layers),
      0.0, 1.0);
  const auto between = [at](double a, double b) { return a + at * (b - a); };
  return {static_cast<std::uint32_t>(layers), between(few.row_us, many.row_us),
          between(few.rows_us, many.rows_us), between(few.head_row_us, many.head_row_us),
          between(few.head_rows_us, many.head_rows_us)};
}

}  // namespace troupe::model
