#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <troupe/model/training/parameter.h>
#include <troupe/runtime/machine/thread_pool.h>

// The optimizers: from the sums that a batch left in the parameters' gradients to new weights.

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

  // Makes the memory of the optimizer's state, zeroed, if it is not there.
  void prepare(std::span<Parameter* const> parameters) const;

  const OptimizerOptions& options() const { return options_; }
  std::uint64_t steps() const { return steps_; }  // updates that were applied
  void restore(std::uint64_t steps) { steps_ = steps; }

 private:
  void update_range(Parameter& parameter, std::size_t begin, std::size_t end, float gradient_scale,
                    double learning_rate) const;

  const OptimizerOptions options_;
  std::uint64_t steps_ = 0;
};

}  // namespace troupe::model
