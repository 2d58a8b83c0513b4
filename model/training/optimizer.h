#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <troupe/model/training/parameter.h>
#include <troupe/runtime/kernels/update.h>
#include <troupe/runtime/machine/thread_pool.h>

// The optimizers, which turn the sums in the parameters' gradients into new weights. Rows of a
// table that a batch does not read have a gradient of 0. Their update is postponed until they are
// read or brought up to date, and then has the same bits, because the optimizer remembers the
// learning rates.

namespace troupe::model {

enum class OptimizerKind : std::uint8_t { kAdamW, kSgd };

struct OptimizerOptions {
  OptimizerKind kind = OptimizerKind::kAdamW;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double momentum = 0.0;  // SGD
  double weight_decay = 0.01;
  bool decays_vectors = false;  // norms and biases decay, too
  double clip_norm = 0.0;       // of all gradients together; 0: no clipping
};

struct UpdateReport {
  double gradient_norm = 0.0;  // before clipping
  // False if the norm is not finite; then nothing was changed.
  bool applied = false;
};

class Optimizer {
 public:
  explicit Optimizer(const OptimizerOptions& options) : options_(options) {}

  // Divides the sums by `divisor`, clips, and updates every one of `parameters`.
  UpdateReport update(std::span<Parameter* const> parameters, double divisor, double learning_rate,
                      ThreadPool& pool);

  // Makes up for the updates that groups of a table have missed, in which their gradients were 0.
  void catch_up(Parameter& table, std::span<const std::size_t> groups, ThreadPool& pool);
  // Does the same for all groups of all tables.
  void catch_up(std::span<Parameter* const> parameters, ThreadPool& pool);

  // Makes the memory of the optimizer's state, zeroed, if it is not there.
  void prepare(std::span<Parameter* const> parameters) const;

  const OptimizerOptions& options() const { return options_; }
  std::uint64_t steps() const { return steps_; }  // updates that were applied
  // Sets the number of updates. Every table must be up to date.
  void restore(std::uint64_t steps) {
    steps_ = caught_up_ = steps;
    rates_.clear();
  }

 private:
  // Updates the values [begin, end) of a parameter, whose sums lie at `sums`; `step` is the number
  // of the update.
  void update_range(Parameter& parameter, std::size_t begin, std::size_t end, const float* sums,
                    float gradient_scale, std::uint64_t step, double learning_rate) const;
  // Brings a group of a table to the state after update `step`.
  void catch_up_group(Parameter& table, std::size_t group, std::uint64_t step) const;
  bool decay_alone(Parameter& table, std::size_t group, std::uint64_t step) const;
  kernels::AdamWStep adamw_step(const Parameter& parameter, std::uint64_t step,
                                double learning_rate) const;

  const OptimizerOptions options_;
  std::uint64_t steps_ = 0;
  // The number of updates that all groups of tables have had, and the learning rates of the updates
  // after these.
  std::uint64_t caught_up_ = 0;
  std::vector<double> rates_;
  std::vector<float> zeros_;  // the gradient of a group that was not read
};

}  // namespace troupe::model
