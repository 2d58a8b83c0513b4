#pragma once

#include <cstdint>

// The learning rate of each step. Pure.

namespace troupe::model {

enum class ScheduleKind : std::uint8_t { kConstant, kLinear, kCosine };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kConstant;
  double learning_rate = 5e-5;
  std::uint64_t warmup = 0;  // steps in which the rate rises from 0
  std::uint64_t steps = 0;   // of the whole run; the rate falls to 0 by then

  // Returns the rate of step `step`, counted from 0, as transformers' get_*_schedule_with_warmup
  // does.
  double at(std::uint64_t step) const;
};

}  // namespace troupe::model
