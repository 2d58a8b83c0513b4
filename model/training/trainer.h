#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <troupe/model/source/tensor_source.h>
#include <troupe/model/training/contrastive.h>
#include <troupe/model/training/lora.h>
#include <troupe/model/training/masking.h>
#include <troupe/model/training/network.h>
#include <troupe/model/training/optimizer.h>

// Trains a whole model in this process, without actors: batches of examples in, new weights out.
// The weights after a step depend on the weights before, the batch and the options; not on threads,
// micro-batches, packing or instruction set. One thread at a time.

namespace troupe::model {

// For a decoder: the model whose next-token distributions are learned, too (loss.h). Its weights do
// not change, and keep the formats of its file.
struct TeacherOptions {
  const TensorSource* source = nullptr;  // nullptr: there is no teacher
  ModelConfig config;
};

struct TrainerOptions {
  NetworkOptions network;
  OptimizerOptions optimizer;
  // The number of labels of a classifier. The head's weights are made anew if the model has no
  // classifier, or one for another number of labels; 0 keeps the model's own.
  std::size_t labels = 0;
  // For an encoder: what its head should read and give; if absent, the model's own head is used.
  std::optional<EncoderHead> head;
  // For EncoderHead::kMask: which tokens are hidden in examples that have no targets.
  MaskingOptions masking;
  LoraOptions lora;  // with a rank, adapters are trained instead of the model's own weights
  // If not 0, the examples are pairs of a chosen and a rejected answer, and the loss is that of
  // direct preference optimization with this beta (preference.h). The reference is the model
  // without its adapters, so there must be some.
  double preference_beta = 0.0;
  // For an encoder whose loss is LossKind::kPooled: the examples are groups of texts, with a
  // contrastive loss of their means over the global batch (contrastive.h). Its pooler and head are
  // not trained.
  ContrastiveOptions contrastive;
  TeacherOptions teacher;
};

// Returns the configuration of a model that has the head for which the options ask.
ModelConfig trained_config(const ModelConfig& config, const TrainerOptions& options);

struct StepReport {
  double loss = 0.0;           // mean over the supervised positions, the pairs or the anchors
  double gradient_norm = 0.0;  // before clipping
  double loss_sum = 0.0;
  std::size_t targets = 0,
              hits = 0;  // supervised positions, pairs or anchors; those that were guessed right
  double divisor = 0.0;  // of loss_sum: `targets`, or the sum of class weights
  // False if the loss or the gradients are not finite: the step was skipped, and nothing changed.
  bool applied = false;
};

class Trainer {
 public:
  // Loads the model's weights and makes them f32.
  //   Errors: as load_weights and add_lora; kInvalidArgument if the model cannot be trained.
  static Result<std::unique_ptr<Trainer>> create(const TensorSource& source,
                                                 const ModelConfig& config, Device& device,
                                                 const TrainerOptions& options);

  // Takes a step on a global batch.
  //   Errors: kInvalidArgument if an example does not fit the model, or nothing is supervised.
  Result<StepReport> step(std::span<const Example> batch, double learning_rate);
  // Computes the loss of a batch, in micro-batches. `applied` stays false.
  Result<StepReport> evaluate(std::span<const Example> batch);

  // Returns the number of examples that belong together in a batch: the two of a preference, or an
  // anchor with its positive and negatives; otherwise 1.
  std::size_t group() const {
    return pools() ? contrastive_.group() : preference_beta_ != 0.0 ? 2 : 1;
  }

  // Returns the network and its parameters after every step so far: this call makes the updates
  // that the optimizer has postponed (Optimizer::catch_up).
  Network& network() {
    optimizer_.catch_up(network_->parameters().trained(), device_.pool());
    return *network_;
  }
  Parameters& parameters() { return network().parameters(); }
  // Returns the SHA-256 of the teacher's weights; "none" without one.
  std::string teacher_sha256() const {
    return teacher_ == nullptr ? "none" : teacher_->parameters().sha256();
  }
  const ModelConfig& config() const { return network_->config(); }
  const LossOptions& loss_options() const { return network_->loss_options(); }
  Optimizer& optimizer() { return optimizer_; }

 private:
  Trainer(std::unique_ptr<Network> network, Device& device, const TrainerOptions& options)
      : network_(std::move(network)),
        device_(device),
        optimizer_(options.optimizer),
        preference_beta_(options.preference_beta),
        contrastive_(options.contrastive),
        masking_(options.masking) {}
  Status check(std::span<const Example> batch) const;
  void catch_up(std::span<const Example> batch);
  // Returns the batch as the network should see it, which lies in `own` if it differs from `batch`.
  std::span<const Example> prepared(std::span<const Example> batch, MaskingUse use,
                                    std::vector<Example>* own) const;
  StepReport compute(std::span<const Example> batch, bool gradients);
  StepReport compute_preference(std::span<const Example> batch, bool gradients);
  StepReport compute_contrast(std::span<const Example> batch, bool gradients);
  bool pools() const { return network_->loss_options().kind == LossKind::kPooled; }

  std::unique_ptr<Network> network_, teacher_;
  Device& device_;
  Optimizer optimizer_;
  const double preference_beta_;
  const ContrastiveOptions contrastive_;
  const MaskingOptions masking_;
};

}  // namespace troupe::model
