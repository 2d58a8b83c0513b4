#include <algorithm>

#include <troupe/model/training/schedule.h>
#include <troupe/runtime/numerics/trig.h>

namespace troupe::model {

double Schedule::at(std::uint64_t step) const {
  if (step < warmup) return learning_rate * static_cast<double>(step) / static_cast<double>(warmup);
  if (kind == ScheduleKind::kConstant) return learning_rate;
  const auto left = static_cast<double>(steps > step ? steps - step : 0);
  const auto span =
      static_cast<double>(std::max<std::uint64_t>(1, steps - std::min(steps, warmup)));
  if (kind == ScheduleKind::kLinear) return learning_rate * (left / span);
  constexpr double kPi = 3.141592653589793;
  return learning_rate * 0.5 * (1.0 + sin_cos(kPi * (1.0 - left / span)).cos);
}

}  // namespace troupe::model
