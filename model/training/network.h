#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <troupe/model/training/dropout.h>
#include <troupe/model/training/embedding_gradient.h>
#include <troupe/model/training/head.h>
#include <troupe/model/training/layer.h>
#include <troupe/model/training/step_memory.h>

// A whole model that computes losses and gradients over global batches. The gradients are sums over
// the supervised positions; the caller divides once (optimizer.h). Their bits depend on the batch
// alone: not on the micro-batches, threads or instruction set (docs/training.md). Owned by one
// trainer, used from one thread.

namespace troupe::model {

struct NetworkOptions {
  std::size_t micro_batch = 0;  // examples that are computed together; 0: all of a batch
  // Keeps only the layers' inputs from the forward pass, and runs each layer again before its
  // backward pass: this takes less memory, and a third more time.
  bool checkpointing = false;
  // Matrices stay in the formats of the file; only adapters can be trained beside them.
  bool keeps_formats = false;
  LossOptions loss;
  DropoutOptions dropout;  // of the inputs of adapters, where gradients are computed
};

// Sums over the supervised positions of a batch.
struct BatchSums {
  double loss = 0.0;
  std::size_t targets = 0;  // the number of these positions
  double divisor = 0.0;     // what the loss is divided by: `targets`, or the sum of class weights
  std::size_t hits = 0;     // targets that have the largest logit
};

class Network {
 public:
  Network(const ModelConfig& config, std::unique_ptr<StageWeights> weights, Device& device,
          const NetworkOptions& options);

  // Lets a part of the loss come from `teacher` (loss.h) from now on, another network with the same
  // vocabulary on the same device; nullptr means none. The teacher computes only for this network.
  void set_teacher(Network* teacher) { teacher_ = teacher; }

  const ModelConfig& config() const { return config_; }
  const LossOptions& loss_options() const { return options_.loss; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }

  // Checks that the model can be trained on these examples.
  //   Errors: kInvalidArgument naming the example and the value.
  Status check(std::span<const Example> batch) const;
  // Computes the loss and, in each parameter's gradient[0], the gradients of its sum.
  BatchSums gradients(std::span<const Example> batch);
  // Computes the loss alone.
  BatchSums loss(std::span<const Example> batch);
  // Computes the loss of each example: the sum over its supervised positions, in double precision.
  std::vector<double> example_losses(std::span<const Example> batch);
  // For an encoder whose loss is LossKind::kPooled, returns the means of the last layer's rows of
  // each example, (examples, C).
  std::vector<float> pooled(std::span<const Example> batch);
  // Computes, in each parameter's gradient[0], the gradients of a sum whose gradient with respect
  // to pooled(batch) is `dpooled`.
  void pooled_gradients(std::span<const Example> batch, std::span<const float> dpooled);
  // Returns the logits of the target rows, (rows, config.outputs()), of examples that fit into one
  // micro-batch.
  std::vector<float> logits(std::span<const Example> batch);

 private:
  enum class Pass { kLogits, kLoss, kGradients };
  struct LossSum;

  // Optional results of a pass besides the sums.
  struct Wanted {
    std::vector<float>* logits = nullptr;
    std::vector<double>* example_losses = nullptr;
    std::vector<float>* pooled = nullptr;
    const float* dpooled = nullptr;  // the argument of pooled_gradients
  };

  BatchSums run(std::span<const Example> batch, Pass pass, const Wanted& wanted);
  void add_example_losses(const MicroBatch& micro, std::vector<double>* losses) const;
  std::vector<float> dense_logits(const MicroBatch& micro) const;
  bool trains_embeddings();
  // Returns the first layer in which something is trained, or the number of layers.
  std::size_t first_trained_layer();
  void add_embedding_gradients(std::span<const Example> batch, std::span<const float> gradients);
  // Says whether the logits of all target rows must lie in memory at once (slice_rows in head.h).
  bool needs_all_logits(Pass pass);
  void lay_out(const MicroBatch& micro, Pass pass);
  void run_micro_batch(const MicroBatch& micro, Pass pass, const float* dpooled,
                       float* embedding_gradients);
  // Returns the logits of a micro-batch's target rows, in blocks, until the next call.
  float* micro_logits(const MicroBatch& micro);
  // Computes the loss of a micro-batch and its gradient, from the layers' result to dx.
  void run_head(Pass pass, const float* dpooled, int thread);
  bool pools() const { return options_.loss.kind == LossKind::kPooled; }
  void embed(const MicroBatch& micro, float* x, int thread);
  void embed_backward(const MicroBatch& micro, float* dx, float* out, int thread);

  const ModelConfig config_;
  const NetworkOptions options_;
  Parameters parameters_;
  Team team_;
  RopeTable rope_;
  AlignedBuffer buffer_;
  StepMemory memory_;  // of the micro-batch under way
  std::unique_ptr<LayerStep> layer_step_;
  std::unique_ptr<HeadStep> head_step_;
  Network* teacher_ = nullptr;
};

}  // namespace troupe::model
