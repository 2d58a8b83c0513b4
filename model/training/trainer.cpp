#include <cmath>
#include <string>
#include <utility>

#include <troupe/model/training/trainer.h>
#include <troupe/runtime/kernels/packed_matrix.h>
#include <troupe/runtime/numerics/trig.h>

namespace troupe::model {
namespace {

Status invalid(const std::string& what) { return Status(Code::kInvalidArgument, what); }

StepReport report_of(const BatchSums& sums) {
  StepReport report;
  report.loss = sums.loss / static_cast<double>(sums.targets);
  report.targets = sums.targets;
  report.hits = sums.hits;
  return report;
}

// A new head: the classifier's weights are drawn as sin(n) / 50 for n = 1, 2, ..., its bias is 0.
void make_classifier(ModelConfig* config, StageWeights* weights, std::size_t labels) {
  config->labels = labels;
  const std::size_t channels = config->channels;
  std::vector<float> rows(labels * channels);
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = 0.02f * static_cast<float>(sin_cos(static_cast<double>(i + 1)).sin);
  auto packed = kernels::pack(quant::Type::kF32, reinterpret_cast<const std::byte*>(rows.data()),
                              rows.size() * sizeof(float), labels, channels);
  TROUPE_CHECK(packed.is_ok(), packed.message());
  weights->ends[kClassifier].matrix = std::move(*packed);
  weights->ends[kClassifierBias].vector.assign(labels, 0.0f);
}

}  // namespace

Result<std::unique_ptr<Trainer>> Trainer::create(const TensorSource& source,
                                                 const ModelConfig& config, Device& device,
                                                 const TrainerOptions& options) {
  if (config.causal && options.labels != 0)
    return invalid("the model is a decoder (" + config.family +
                   "); labels are trained on an encoder, such as BERT");
  if (!config.causal && config.labels == 0 && options.labels == 0)
    return invalid(
        "the model is an encoder without a classification head; say how many labels it "
        "shall have");
  if (!config.causal && !config.pooler)
    return invalid("the model has no pooler, which a classification head reads");
  ModelConfig trained = config;
  const bool is_new = options.labels != 0 && options.labels != config.labels;
  if (is_new) trained.labels = 0;
  TROUPE_ASSIGN_OR_RETURN(auto weights,
                          load_weights(source, trained, {0, config.layers}, device.pool(), {}));
  if (is_new) make_classifier(&trained, weights.get(), options.labels);
  auto network = std::make_unique<Network>(trained, std::move(weights), device, options.network);
  return std::unique_ptr<Trainer>(new Trainer(std::move(network), device, options.optimizer));
}

Result<StepReport> Trainer::step(std::span<const Example> batch, double learning_rate) {
  TROUPE_RETURN_IF_ERROR(network_->check(batch));
  const BatchSums sums = network_->gradients(batch);
  StepReport report = report_of(sums);
  if (!std::isfinite(report.loss)) return report;
  const UpdateReport update = optimizer_.update(
      network_->parameters(), static_cast<double>(sums.targets), learning_rate, device_.pool());
  report.gradient_norm = update.gradient_norm;
  report.applied = update.applied;
  return report;
}

Result<StepReport> Trainer::evaluate(std::span<const Example> batch) {
  TROUPE_RETURN_IF_ERROR(network_->check(batch));
  return report_of(network_->loss(batch));
}

}  // namespace troupe::model
