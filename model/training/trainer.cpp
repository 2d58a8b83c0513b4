#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include <troupe/model/training/preference.h>
#include <troupe/model/training/trainable.h>
#include <troupe/model/training/trainer.h>
#include <troupe/runtime/kernels/packed_matrix.h>
#include <troupe/runtime/numerics/trig.h>

namespace troupe::model {
namespace {

Status invalid(const std::string& what) { return Status(Code::kInvalidArgument, what); }

StepReport report_of(const BatchSums& sums) {
  StepReport report;
  report.loss_sum = sums.loss;
  report.divisor = sums.divisor;
  report.loss = sums.loss / sums.divisor;
  report.targets = sums.targets;
  report.hits = sums.hits;
  return report;
}

// Says whether the loss fits the model's head.
Status check_loss(const ModelConfig& config, const TrainerOptions& options) {
  const LossOptions& loss = options.network.loss;
  const std::size_t labels = options.labels != 0 ? options.labels : config.labels;
  const std::size_t outputs = config.causal ? config.vocabulary : labels;
  const bool is_plain = loss.label_smoothing == 0.0f && loss.class_weights.empty();
  if (!(loss.label_smoothing >= 0.0f && loss.label_smoothing < 1.0f))
    return invalid("the label smoothing is " + std::to_string(loss.label_smoothing) +
                   ", which is not in [0, 1)");
  if (!loss.class_weights.empty() && loss.class_weights.size() != outputs)
    return invalid("there are " + std::to_string(loss.class_weights.size()) +
                   " class weights for " + std::to_string(outputs) + " classes");
  for (const float weight : loss.class_weights)
    if (!(weight > 0.0f && weight <= 1e6f))
      return invalid("the class weight " + std::to_string(weight) + " is not in (0, 1e6]");
  if (loss.kind == LossKind::kSquares && (config.causal || outputs != 1 || !is_plain))
    return invalid(
        "a number is trained on an encoder with one output, without label smoothing and class "
        "weights");
  if (loss.kind == LossKind::kPooled && (config.causal || options.lora.rank != 0 || !is_plain))
    return invalid(
        "embeddings are trained on all weights of an encoder, without adapters, label smoothing "
        "and class weights");
  if (loss.kind == LossKind::kPooled && !(options.contrastive.temperature > 0.0))
    return invalid("the temperature of embeddings is " +
                   std::to_string(options.contrastive.temperature) + ", which is not above 0");
  if (options.preference_beta != 0.0 && !is_plain)
    return invalid("preferences have no label smoothing and no class weights");
  return Status::ok();
}

// Freezes what comes after the layers, because an encoder whose rows are averaged does not read it.
void freeze_head(Parameters& parameters) {
  for (const std::size_t slot :
       {kPooler, kPoolerBias, kPoolerNorm, kPoolerNormBias, kClassifier, kClassifierBias})
    if (Parameter* found = parameters.find(kNoLayer, slot); found != nullptr)
      found->trained = false;
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
  TROUPE_RETURN_IF_ERROR(check_trainable(config));
  if (config.causal && options.labels != 0)
    return invalid("the model is a decoder (" + config.family +
                   "); labels are trained on an encoder, such as BERT");
  const bool pools = options.network.loss.kind == LossKind::kPooled;
  if (!config.causal && !pools && config.labels == 0 && options.labels == 0)
    return invalid(
        "the model is an encoder without a classification head; say how many labels it "
        "should have");
  if (!config.causal && !pools && !config.pooler)
    return invalid("the model has no pooler, which a classification head reads");
  if (options.preference_beta != 0.0 && (options.lora.rank == 0 || !config.causal))
    return invalid(
        "preferences are trained into adapters of a decoder, whose own weights are the reference; "
        "give --lora-rank");
  if (!(options.lora.dropout >= 0.0 && options.lora.dropout < 1.0))
    return invalid("the dropout of adapters is " + std::to_string(options.lora.dropout) +
                   ", which is not in [0, 1)");
  if (options.preference_beta != 0.0 && options.lora.dropout != 0.0)
    return invalid("preferences compare two passes, which dropout would make different");
  TROUPE_RETURN_IF_ERROR(check_loss(config, options));
  ModelConfig trained = config;
  const bool is_new = options.labels != 0 && options.labels != config.labels;
  if (is_new || pools) trained.labels = 0;
  TROUPE_ASSIGN_OR_RETURN(auto weights,
                          load_weights(source, trained, {0, config.layers}, device.pool(), {}));
  if (is_new) make_classifier(&trained, weights.get(), options.labels);
  NetworkOptions network_options = options.network;
  network_options.keeps_formats = options.lora.rank != 0;
  if (options.lora.rank != 0) network_options.dropout = {options.lora.dropout, options.lora.seed};
  auto network = std::make_unique<Network>(trained, std::move(weights), device, network_options);
  if (pools) freeze_head(network->parameters());
  if (options.lora.rank != 0)
    TROUPE_RETURN_IF_ERROR(add_lora(network->config(), options.lora, network->parameters()));
  return std::unique_ptr<Trainer>(new Trainer(std::move(network), device, options));
}

// Brings the rows that the batch reads up to date.
void Trainer::catch_up(std::span<const Example> batch) {
  Parameter* table = network_->parameters().trained(kNoLayer, kTokenEmbedding);
  if (table == nullptr || table->group_updates.empty()) return;
  std::vector<std::size_t> groups;
  for (const Example& example : batch)
    for (const TokenId id : example.ids)
      groups.push_back(static_cast<std::size_t>(id) / kernels::kGroupRows);
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  optimizer_.catch_up(*table, groups, device_.pool());
}

// The loss, and with `gradients` their sums in the parameters.
StepReport Trainer::compute(std::span<const Example> batch, bool gradients) {
  if (preference_beta_ != 0.0) return compute_preference(batch, gradients);
  if (pools()) return compute_contrast(batch, gradients);
  return report_of(gradients ? network_->gradients(batch) : network_->loss(batch));
}

StepReport Trainer::compute_preference(std::span<const Example> batch, bool gradients) {
  Parameters& parameters = network_->parameters();
  parameters.switch_adapters(false);
  const std::vector<double> reference = network_->example_losses(batch);
  parameters.switch_adapters(true);
  const std::vector<double> policy = network_->example_losses(batch);
  const PreferenceLoss sums = preference_loss(policy, reference, preference_beta_);
  if (gradients) {
    std::vector<Example> weighted(batch.begin(), batch.end());
    for (std::size_t i = 0; i < weighted.size(); ++i) weighted[i].weight = sums.weights[i];
    network_->gradients(weighted);
  }
  StepReport report;
  report.targets = batch.size() / 2;
  report.loss_sum = sums.loss;
  report.divisor = static_cast<double>(report.targets);
  report.loss = sums.loss / report.divisor;
  report.hits = sums.hits;
  return report;
}

// Embeds the whole batch, and runs it again with the gradient of each embedding.
StepReport Trainer::compute_contrast(std::span<const Example> batch, bool gradients) {
  const std::vector<float> pooled = network_->pooled(batch);
  const ContrastiveLoss sums =
      contrastive_loss(pooled, config().channels, contrastive_, device_.pool());
  if (gradients) network_->pooled_gradients(batch, sums.gradients);
  StepReport report;
  report.targets = batch.size() / contrastive_.group();
  report.loss_sum = sums.loss;
  report.divisor = static_cast<double>(report.targets);
  report.loss = sums.loss / report.divisor;
  report.hits = sums.hits;
  return report;
}

// Whether the examples are whole groups.
Status Trainer::check(std::span<const Example> batch) const {
  TROUPE_RETURN_IF_ERROR(network_->check(batch));
  if (batch.size() % group() == 0) return Status::ok();
  return invalid(std::to_string(batch.size()) + " examples are not groups of " +
                 std::to_string(group()));
}

Result<StepReport> Trainer::step(std::span<const Example> batch, double learning_rate) {
  TROUPE_RETURN_IF_ERROR(check(batch));
  catch_up(batch);
  StepReport report = compute(batch, /*gradients=*/true);
  if (!std::isfinite(report.loss)) return report;
  const UpdateReport update = optimizer_.update(network_->parameters().trained(), report.divisor,
                                                learning_rate, device_.pool());
  report.gradient_norm = update.gradient_norm;
  report.applied = update.applied;
  return report;
}

Result<StepReport> Trainer::evaluate(std::span<const Example> batch) {
  TROUPE_RETURN_IF_ERROR(check(batch));
  catch_up(batch);
  return compute(batch, /*gradients=*/false);
}

}  // namespace troupe::model
