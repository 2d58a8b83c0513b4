#include <algorithm>

#include <troupe/model/training/dataset.h>
#include <troupe/model/training/run_plan.h>

namespace troupe::model {

RunPlan::RunPlan(std::size_t examples, const RunOptions& options)
    : examples_(examples), options_(options) {
  const std::size_t batch = std::max<std::size_t>(1, options.batch_size);
  options_.batch_size = batch;
  steps_per_epoch_ = options.drops_last ? examples / batch : (examples + batch - 1) / batch;
  steps_ = steps_per_epoch_ * options.epochs;
  if (options.steps_max != 0) steps_ = steps_per_epoch_ == 0 ? 0 : options.steps_max;
  options_.schedule.steps = steps_;
}

std::vector<std::size_t> RunPlan::batch(std::uint64_t step) {
  const std::uint64_t epoch = epoch_of(step);
  if (epoch != ordered_epoch_) {
    order_ = epoch_order(examples_, options_.shuffled, options_.seed, epoch);
    ordered_epoch_ = epoch;
  }
  const std::size_t first = static_cast<std::size_t>(step % steps_per_epoch_) * options_.batch_size;
  const std::size_t end = std::min(examples_, first + options_.batch_size);
  return {order_.begin() + static_cast<std::ptrdiff_t>(first),
          order_.begin() + static_cast<std::ptrdiff_t>(end)};
}

}  // namespace troupe::model
