#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <troupe/model/training/embedding_gradient.h>
#include <troupe/model/training/head.h>
#include <troupe/model/training/layer.h>

// A whole model that computes losses and gradients over global batches. The gradients are sums over
// the supervised positions; the caller divides once (optimizer.h). Their bits depend on the batch
// alone: not on the micro-batches, threads or instruction set (docs/training.md). Owned by one
// trainer, used from one thread.

namespace troupe::model {

struct NetworkOptions {
  std::size_t micro_batch = 0;  // examples that are computed together; 0: all of a batch
  // Keeps only the layers' inputs of the forward pass and runs each layer again when its backward
  // pass comes: less memory, a third more time.
  bool checkpointing = false;
};

// Sums over the supervised positions of a batch.
struct BatchSums {
  double loss = 0.0;
  std::size_t targets = 0;  // the number of these positions
  std::size_t hits = 0;     // where the target has the largest logit
};

class Network {
 public:
  Network(const ModelConfig& config, std::unique_ptr<StageWeights> weights, Device& device,
          const NetworkOptions& options);

  const ModelConfig& config() const { return config_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }

  // Checks that the model can be trained on these examples.
  //   Errors: kInvalidArgument naming the example and the value.
  Status check(std::span<const Example> batch) const;
  // Computes the loss and, in each parameter's gradient[0], the gradients of its sum.
  BatchSums gradients(std::span<const Example> batch);
  // Computes the loss alone.
  BatchSums loss(std::span<const Example> batch);
  // Returns the logits of the target rows, (rows, config.outputs()), of examples that fit into one
  // micro-batch.
  std::vector<float> logits(std::span<const Example> batch);

 private:
  enum class Pass { kLogits, kLoss, kGradients };
  struct LossSum;

  BatchSums run(std::span<const Example> batch, Pass pass, std::vector<float>* logits);
  std::vector<float> dense_logits(const MicroBatch& micro) const;
  void add_embedding_gradients(std::span<const Example> batch, std::span<const float> gradients);
  void lay_out(const MicroBatch& micro, Pass pass);
  void lay_out_workspace(const MicroBatch& micro, bool backward);
  void run_micro_batch(const MicroBatch& micro, Pass pass, float* embedding_gradients);
  void embed(const MicroBatch& micro, float* x, int thread);
  void embed_backward(const MicroBatch& micro, float* dx, float* out, int thread);
  float* take(std::size_t floats);
  LayerActivations make_activations(std::size_t layer, bool shared);

  const ModelConfig config_;
  const NetworkOptions options_;
  Parameters parameters_;
  Team team_;
  RopeTable rope_;
  AlignedBuffer memory_;
  float* base_ = nullptr;
  std::size_t used_ = 0;
  // Of the micro-batch under way.
  std::vector<LayerActivations> activations_;  // of each layer
  std::vector<std::vector<std::size_t>> page_offsets_;
  std::size_t pages_bytes_ = 0, page_bytes_ = 0;
  float* embedded_ = nullptr;  // the sums of embeddings before their norm, if there is one
  float *result_ = nullptr, *dx_ = nullptr;
  std::size_t rows_ = 0;
  std::unique_ptr<LayerStep> layer_step_;
  std::unique_ptr<HeadStep> head_step_;
};

}  // namespace troupe::model
