#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include <troupe/model/training/new_heads.h>
#include <troupe/model/training/preference.h>
#include <troupe/model/training/trainable.h>
#include <troupe/model/training/trainer.h>
#include <troupe/runtime/kernels/packed_matrix.h>

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

// Checks that the loss fits the model's head.
Status check_loss(const ModelConfig& config, const TrainerOptions& options) {
  const LossOptions& loss = options.network.loss;
  const std::size_t outputs = trained_config(config, options).outputs();
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
  if (loss.kind == LossKind::kPooled && (config.causal || !is_plain))
    return invalid(
        "embeddings are trained on an encoder, without label smoothing and class weights");
  if (loss.kind == LossKind::kPooled && options.lora.dropout != 0.0)
    return invalid("embeddings are computed twice in a step, which dropout would make different");
  if (loss.kind == LossKind::kPooled && !(options.contrastive.temperature > 0.0))
    return invalid("the temperature of embeddings is " +
                   std::to_string(options.contrastive.temperature) + ", which is not above 0");
  if (options.preference_beta != 0.0 && !is_plain)
    return invalid("preferences have no label smoothing and no class weights");
  return Status::ok();
}

// Checks that the model can have the head that is asked for.
Status check_head(const GgufHeader& header, const ModelConfig& config,
                  const TrainerOptions& options) {
  if (config.causal) {
    if (options.labels == 0 && !options.head) return Status::ok();
    return invalid("the model is a decoder (" + config.family +
                   "); labels and masked tokens are trained on an encoder, such as BERT");
  }
  if (options.network.loss.kind == LossKind::kPooled) return Status::ok();
  const ModelConfig trained = trained_config(config, options);
  if (trained.head == EncoderHead::kMask) {
    if (options.labels != 0) return invalid("masked tokens have no labels");
    if (!ties_embedding(header))
      return invalid(
          "config.json says that the model's output matrix is not its embedding "
          "(\"tie_word_embeddings\": false); masked tokens are trained where it is");
    if (options.lora.rank != 0 && !has_mask_head(header))
      return invalid(
          "the model has no head for masked tokens, and beside adapters a new one would not be "
          "trained; leave out --lora-rank");
    return Status::ok();
  }
  if (trained.labels == 0)
    return invalid(
        "the model is an encoder without a classification head; say how many labels it should "
        "have");
  if (trained.head == EncoderHead::kSequence && !config.pooler)
    return invalid("the model has no pooler, which a classification head reads");
  return Status::ok();
}

// Checks that the teacher fits the model and the loss.
Status check_teacher(const ModelConfig& config, const TrainerOptions& options) {
  if (options.teacher.source == nullptr) return Status::ok();
  const ModelConfig& teacher = options.teacher.config;
  const LossOptions& loss = options.network.loss;
  const Status trainable = check_trainable(teacher);
  if (!trainable) return trainable.with_context("the teacher");
  if (!config.causal || !teacher.causal)
    return invalid(
        "a teacher and its student predict next tokens, so both must be decoders, but " +
        (config.causal ? "the teacher is a " + teacher.family : "the model is a " + config.family));
  if (teacher.vocabulary != config.vocabulary)
    return invalid("the teacher has a vocabulary of " + std::to_string(teacher.vocabulary) +
                   " tokens, but the model has " + std::to_string(config.vocabulary) +
                   "; the two must be of one vocabulary");
  if (options.preference_beta != 0.0)
    return invalid("preferences are compared with the model itself, and have no teacher");
  if (!(loss.teacher_ratio > 0.0f && loss.teacher_ratio <= 1.0f))
    return invalid("the teacher's part of the loss is " + std::to_string(loss.teacher_ratio) +
                   ", which is not in (0, 1]");
  if (!(loss.teacher_temperature >= 1e-3f && loss.teacher_temperature <= 1e3f))
    return invalid("the teacher's temperature is " + std::to_string(loss.teacher_temperature) +
                   ", which is not in [0.001, 1000]");
  return Status::ok();
}

// Freezes the pooler and the classifier. Neither an encoder's mean nor the head that predicts
// masked tokens reads them.
void freeze_head(Parameters& parameters) {
  for (const std::size_t slot :
       {kPooler, kPoolerBias, kPoolerNorm, kPoolerNormBias, kClassifier, kClassifierBias})
    if (Parameter* found = parameters.find(kNoLayer, slot); found != nullptr)
      found->trained = false;
}

}  // namespace

ModelConfig trained_config(const ModelConfig& config, const TrainerOptions& options) {
  ModelConfig trained = config;
  if (config.causal) return trained;
  const bool pools = options.network.loss.kind == LossKind::kPooled;
  trained.head = pools ? EncoderHead::kSequence : options.head.value_or(config.head);
  if (options.labels != 0) trained.labels = options.labels;
  if (pools || trained.head == EncoderHead::kMask) trained.labels = 0;
  if (trained.head == EncoderHead::kMask) trained.tied_embedding = true;
  // Such a model has no place for a pooler, because its head reads none.
  if (trained.head == EncoderHead::kToken)
    trained.pooler = trained.pooler_bias = trained.pooler_norm = false;
  return trained;
}

Result<std::unique_ptr<Trainer>> Trainer::create(const TensorSource& source,
                                                 const ModelConfig& config, Device& device,
                                                 const TrainerOptions& options) {
  TROUPE_RETURN_IF_ERROR(check_trainable(config));
  TROUPE_RETURN_IF_ERROR(check_head(source.header(), config, options));
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
  TROUPE_RETURN_IF_ERROR(check_teacher(config, options));
  ModelConfig trained = trained_config(config, options);
  const bool masks = trained.head == EncoderHead::kMask;
  const bool is_new = masks ? !has_mask_head(source.header())
                            : trained.labels != config.labels || trained.head != config.head;
  ModelConfig stored = trained;  // the part of the file that is read
  if (is_new) {
    stored.labels = 0;
    stored.head = EncoderHead::kSequence;
  }
  TROUPE_ASSIGN_OR_RETURN(auto weights,
                          load_weights(source, stored, {0, config.layers}, device.pool(), {}));
  if (is_new && masks) make_mask_head(&trained, weights.get());
  if (is_new && trained.labels != 0) make_classifier(&trained, weights.get(), trained.labels);
  NetworkOptions network_options = options.network;
  network_options.keeps_formats = options.lora.rank != 0;
  if (options.lora.rank != 0) network_options.dropout = {options.lora.dropout, options.lora.seed};
  auto network = std::make_unique<Network>(trained, std::move(weights), device, network_options);
  if (masks || options.network.loss.kind == LossKind::kPooled) freeze_head(network->parameters());
  if (options.lora.rank != 0)
    TROUPE_RETURN_IF_ERROR(add_lora(network->config(), options.lora, network->parameters()));
  std::unique_ptr<Trainer> trainer(new Trainer(std::move(network), device, options));
  if (options.teacher.source == nullptr) return trainer;
  const ModelConfig& teacher = options.teacher.config;
  TROUPE_ASSIGN_OR_RETURN(
      auto teacher_weights,
      load_weights(*options.teacher.source, teacher, {0, teacher.layers}, device.pool(), {}));
  NetworkOptions teacher_options;
  teacher_options.keeps_formats = true;
  trainer->teacher_ =
      std::make_unique<Network>(teacher, std::move(teacher_weights), device, teacher_options);
  trainer->network_->set_teacher(trainer->teacher_.get());
  return trainer;
}

// Brings up to date those rows of tables that the batch reads.
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

// Computes the loss, and with `gradients` also their sums in the parameters.
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

// Checks that the examples are whole groups.
Status Trainer::check(std::span<const Example> batch) const {
  TROUPE_RETURN_IF_ERROR(network_->check(batch));
  if (teacher_ != nullptr) {
    const Status taught = teacher_->check(batch);
    if (!taught) return taught.with_context("the teacher");
  }
  if (batch.size() % group() == 0) return Status::ok();
  return invalid(std::to_string(batch.size()) + " examples are not groups of " +
                 std::to_string(group()));
}

std::span<const Example> Trainer::prepared(std::span<const Example> batch, MaskingUse use,
                                           std::vector<Example>* own) const {
  if (config().head != EncoderHead::kMask || masking_.mask < 0) return batch;
  for (const Example& example : batch)
    own->push_back(example.targets.empty() ? masked(example, masking_, use) : example);
  return *own;
}

Result<StepReport> Trainer::step(std::span<const Example> examples, double learning_rate) {
  std::vector<Example> own;
  const std::span<const Example> batch = prepared(examples, MaskingUse::kTraining, &own);
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

Result<StepReport> Trainer::evaluate(std::span<const Example> examples) {
  std::vector<Example> own;
  const std::span<const Example> batch = prepared(examples, MaskingUse::kValidation, &own);
  TROUPE_RETURN_IF_ERROR(check(batch));
  catch_up(batch);
  return compute(batch, /*gradients=*/false);
}

}  // namespace troupe::model
