#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <troupe/model/source/tensor_source.h>
#include <troupe/model/training/network.h>
#include <troupe/model/training/optimizer.h>

// Trains a whole model in this process, without actors: batches of examples in, new weights out.
// The weights after a step depend on the weights before, the batch and the options; not on threads,
// micro-batches, packing or instruction set. One thread at a time.

namespace troupe::model {

struct TrainerOptions {
  NetworkOptions network;
  OptimizerOptions optimizer;
  // Of a classifier: the number of labels. The head's weights are made anew if the model has none,
  // or one with another number; 0 keeps the model's own.
  std::size_t labels = 0;
};

struct StepReport {
  double loss = 0.0;           // mean over the supervised positions
  double gradient_norm = 0.0;  // before clipping
  std::size_t targets = 0, hits = 0;
  // False if the loss or the gradients are not finite: the step was skipped, and nothing changed.
  bool applied = false;
};

class Trainer {
 public:
  // Loads the model's weights and makes them f32.
  //   Errors: as load_weights; kInvalidArgument if the model cannot be trained.
  static Result<std::unique_ptr<Trainer>> create(const TensorSource& source,
                                                 const ModelConfig& config, Device& device,
                                                 const TrainerOptions& options);

  // One step on a global batch.
  //   Errors: kInvalidArgument if an example does not fit the model, or nothing is supervised.
  Result<StepReport> step(std::span<const Example> batch, double learning_rate);
  // The loss of a batch, in micro-batches. `applied` stays false.
  Result<StepReport> evaluate(std::span<const Example> batch);

  Network& network() { return *network_; }
  const ModelConfig& config() const { return network_->config(); }
  Parameters& parameters() { return network_->parameters(); }
  Optimizer& optimizer() { return optimizer_; }

 private:
  Trainer(std::unique_ptr<Network> network, Device& device, const OptimizerOptions& options)
      : network_(std::move(network)), device_(device), optimizer_(options) {}

  std::unique_ptr<Network> network_;
  Device& device_;
  Optimizer optimizer_;
};

}  // namespace troupe::model
