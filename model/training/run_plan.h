#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <troupe/model/training/schedule.h>

// Decides which examples each step of a run takes. Everything follows from the number of the step,
// so that a run that was stopped continues with the batches that it would have had. Pure.

namespace troupe::model {

struct RunOptions {
  std::size_t batch_size = 8;  // examples of a global batch
  std::uint64_t epochs = 1;
  std::uint64_t steps_max = 0;  // 0: as many as the epochs have
  std::uint64_t seed = 0;
  bool shuffled = true;     // each epoch has an order of its own; else the order of the file
  bool drops_last = false;  // an epoch's last batch is left out if it is smaller
  Schedule schedule;        // its `steps` is set by the plan
};

class RunPlan {
 public:
  // `examples` is at least 1.
  RunPlan(std::size_t examples, const RunOptions& options);

  std::uint64_t steps() const { return steps_; }
  std::uint64_t steps_per_epoch() const { return steps_per_epoch_; }
  std::uint64_t epoch_of(std::uint64_t step) const { return step / steps_per_epoch_; }
  double learning_rate(std::uint64_t step) const { return options_.schedule.at(step); }
  // Returns the numbers of the examples of a step's batch, in order.
  std::vector<std::size_t> batch(std::uint64_t step);

 private:
  const std::size_t examples_;
  RunOptions options_;
  std::uint64_t steps_per_epoch_ = 0, steps_ = 0;
  std::uint64_t ordered_epoch_ = ~std::uint64_t{0};
  std::vector<std::size_t> order_;  // of that epoch
};

}  // namespace troupe::model
