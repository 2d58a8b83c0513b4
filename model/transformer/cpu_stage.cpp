#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include <troupe/model/families/read_config.h>
#include <troupe/model/transformer/block.h>
#include <troupe/model/transformer/cpu_stage.h>
#include <troupe/model/transformer/paged_stage.h>
#include <troupe/model/transformer/step_checks.h>
#include <troupe/runtime/machine/aligned_buffer.h>

namespace troupe::model {
namespace {

BestLogit best_logit(std::span<const float> logits) {
  BestLogit best;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    best.is_nan |= logits[id] != logits[id];
    if (best.id >= 0 ? !(logits[id] > best.value) : logits[id] != logits[id]) continue;
    best.id = static_cast<std::int32_t>(id);
    best.value = logits[id];
  }
  return best;
}

class CpuStage final : public PagedStage {
 public:
  CpuStage(const ModelConfig& config, std::unique_ptr<StageWeights> weights, Device& device,
           std::shared_ptr<KvPool> kv_pool, bool f16_activations)
      : PagedStage(config, std::move(weights), std::move(kv_pool)),
        device_(device),
        step_(config_, *weights_, device, pool().type()) {
    step_.f16_activations = f16_activations;
    for (const auto& layer : weights_->layers)
      for (const Weight& weight : layer)
        TROUPE_CHECK(weight.matrix.data.on_host(), "the CPU cannot read an accelerator's weights");
  }

  bool f16_activations() const override { return step_.f16_activations; }

  Status forward(const StepInput& input, StepOutput* output) override {
    TROUPE_ASSIGN_OR_RETURN(const std::size_t rows, check_rows(input, config_, weights_->range));
    TROUPE_RETURN_IF_ERROR(reserve_pages(input, pool(), &step_.segments));
    run(input, rows, output);
    for (const SegmentRows& segment : step_.segments) segment.sequence->commit();
    return Status::ok();
  }

 private:
  void run(const StepInput& input, std::size_t rows, StepOutput* output) {
    plan_logits(input, config_, weights_->range, &plan_);
    logit_rows_ = plan_.rows;
    logit_rows_.insert(logit_rows_.end(), plan_.best.begin(), plan_.best.end());
    std::size_t keys = 0;
    for (const SegmentRows& segment : step_.segments)
      keys = std::max(keys, segment.position + segment.count);
    step_.prepare(rows, keys, logit_rows_.size());
    if (!is_first()) std::memcpy(step_.x, input.hidden.data(), input.hidden.size_bytes());
    // Every element will be written. Resizing within the capacity costs nothing.
    const bool gives_hidden = !is_last() || config_.outputs() == 0;
    output->hidden.resize(gives_hidden ? rows * config_.channels : 0);
    output->logits.resize(logit_rows_.size() * config_.outputs());
    float* logits = output->logits.data();
    device_.pool().run([&](int thread) {
      if (is_first()) embed(input, thread);
      run_layers(step_, thread);
      if (is_last() && !config_.causal && !config_.post_norm) norm_rows(thread);
      if (logit_rows_.empty()) return;
      if (config_.causal) {
        compute_logits(logits, thread);
      } else if (config_.head == EncoderHead::kToken) {
        classify_rows(logits, thread);
      } else {
        classify(logits, thread);
      }
    });
    if (gives_hidden)
      std::memcpy(output->hidden.data(), step_.x, output->hidden.size() * sizeof(float));
    output->best.clear();
    const std::size_t columns = config_.outputs(), kept = plan_.rows.size() * columns;
    for (std::size_t i = 0; i < plan_.best.size(); ++i)
      output->best.push_back(best_logit({logits + kept + i * columns, columns}));
    output->logits.resize(kept);
  }

  // x = E[token] (+ T[type]) (+ P[position]), normed if the model does so.
  void embed(const StepInput& input, int thread) {
    const IndexRange mine = step_.rows_of(thread);
    const std::size_t channels = config_.channels;
    float* part = step_.own[static_cast<std::size_t>(thread)].normed.values;
    const auto& ends = weights_->ends;
    const auto add = [&](const Weight& table, std::size_t index, float* x) {
      kernels::unpack_row(table.matrix, index, part);
      for (std::size_t c = 0; c < channels; ++c) x[c] += part[c];
    };
    for (const SegmentRows& segment : step_.segments) {
      const std::size_t begin = std::max(mine.begin, segment.first_row);
      const std::size_t end = std::min(mine.end, segment.first_row + segment.count);
      for (std::size_t row = begin; row < end; ++row) {
        float* x = step_.x + row * channels;
        kernels::unpack_row(ends[kTokenEmbedding].matrix,
                            static_cast<std::size_t>(input.token_ids[row]), x);
        if (config_.embedding_scale != 1.0f)
          for (std::size_t c = 0; c < channels; ++c) x[c] *= config_.embedding_scale;
        if (config_.token_types > 0)
          add(ends[kTypeEmbedding], input.token_types.empty() ? 0 : input.token_types[row], x);
        if (config_.learned_positions)
          add(ends[kPositionEmbedding], segment.position + row - segment.first_row, x);
      }
    }
    if (config_.embedding_norm)
      step_.norm(ends[kEmbeddingNorm], step_.x, mine.begin, mine.end, step_.x);
    device_.pool().barrier(thread);
  }

  // Norms the output of an encoder's last layer.
  void norm_rows(int thread) {
    const IndexRange mine = step_.rows_of(thread);
    step_.norm(weights_->ends[kOutputNorm], step_.x, mine.begin, mine.end, step_.x);
    device_.pool().barrier(thread);
  }

  void compute_logits(float* logits, int thread) {
    const RowBuffer& input = step_.logit_input;
    const IndexRange mine = split(logit_rows_.size(), thread, step_.threads);
    for (std::size_t i = mine.begin; i < mine.end; ++i)
      step_.norm(weights_->ends[kOutputNorm], step_.x + logit_rows_[i] * config_.channels, 0, 1,
                 input.values + i * config_.channels);
    step_.quantize(input.values, config_.channels, mine.begin, mine.end, input);
    device_.pool().barrier(thread);
    const Weight& output = weights_->output_matrix(config_);
    const IndexRange groups = split(output.matrix.groups, thread, step_.threads);
    step_.multiply(input, config_.channels, logit_rows_.size(), {{&output, nullptr, logits}},
                   groups);
    const std::size_t begin = groups.begin * kernels::kGroupRows;
    const std::size_t end = std::min(groups.end * kernels::kGroupRows, config_.vocabulary);
    for (std::size_t row = 0; row < logit_rows_.size() && begin < end; ++row)
      finish_logits(logits + row * config_.vocabulary + begin, end - begin);
  }

  // logits = cap * tanh(logits / divisor / cap), if the model has a cap and a divisor.
  void finish_logits(float* logits, std::size_t count) const {
    if (config_.logit_divisor != 1.0f)
      for (std::size_t i = 0; i < count; ++i) logits[i] /= config_.logit_divisor;
    if (config_.logit_cap == 0.0f) return;
    for (std::size_t i = 0; i < count; ++i) logits[i] /= config_.logit_cap;
    step_.kernels.tanh(logits, logits, count);
    for (std::size_t i = 0; i < count; ++i) logits[i] *= config_.logit_cap;
  }

  // Writes the pooler's input for the sequence whose first row is `row`: that row, or the mean of
  // all rows, which are added in order.
  void take_rows(std::size_t row, float* out) const {
    const std::size_t channels = config_.channels;
    const float* x = step_.x + row * channels;
    std::copy(x, x + channels, out);
    if (!config_.pooler_mean) return;
    const auto segment = std::find_if(step_.segments.begin(), step_.segments.end(),
                                      [&](const SegmentRows& one) { return one.first_row == row; });
    for (std::size_t i = 1; i < segment->count; ++i)
      for (std::size_t c = 0; c < channels; ++c) out[c] += x[i * channels + c];
    const auto count = static_cast<float>(segment->count);
    for (std::size_t c = 0; c < channels; ++c) out[c] /= count;
  }

  void activate_pooled(float* rows, std::size_t count) const {
    const std::size_t values = count * config_.channels;
    if (config_.pooler_kind == PoolerKind::kTanh) step_.kernels.tanh(rows, rows, values);
    if (config_.pooler_kind == PoolerKind::kGeluErf) step_.kernels.gelu_erf(rows, values);
    if (config_.pooler_kind == PoolerKind::kRelu)
      for (std::size_t i = 0; i < values; ++i) rows[i] = std::max(rows[i], 0.0f);
    if (config_.pooler_norm) step_.norm(weights_->ends[kPoolerNorm], rows, 0, count, rows);
  }

  // logits = Wc f(Wp x_0 + bp) + bc, where x_0 is the first row of a sequence and f the pooler's
  // activation, normed if the model does so.
  void classify(float* logits, int thread) {
    const auto& ends = weights_->ends;
    const std::size_t channels = config_.channels, count = logit_rows_.size();
    const IndexRange mine = split(count, thread, step_.threads);
    const RowBuffer &input = step_.logit_input, &pooled = step_.pooled;
    for (std::size_t i = mine.begin; i < mine.end; ++i)
      take_rows(logit_rows_[i], input.values + i * channels);
    step_.quantize(input.values, channels, mine.begin, mine.end, input);
    device_.pool().barrier(thread);
    step_.multiply(input, channels, count, {{&ends[kPooler], &ends[kPoolerBias], pooled.values}},
                   split(ends[kPooler].matrix.groups, thread, step_.threads));
    device_.pool().barrier(thread);
    activate_pooled(pooled.values + mine.begin * channels, mine.end - mine.begin);
    step_.quantize(pooled.values, channels, mine.begin, mine.end, pooled);
    device_.pool().barrier(thread);
    step_.multiply(pooled, channels, count, {{&ends[kClassifier], &ends[kClassifierBias], logits}},
                   split(ends[kClassifier].matrix.groups, thread, step_.threads));
  }

  // logits = Wc x + bc for each row.
  void classify_rows(float* logits, int thread) {
    const auto& ends = weights_->ends;
    const std::size_t channels = config_.channels, count = logit_rows_.size();
    const IndexRange mine = split(count, thread, step_.threads);
    const RowBuffer& input = step_.logit_input;
    for (std::size_t i = mine.begin; i < mine.end; ++i)
      std::copy_n(step_.x + logit_rows_[i] * channels, channels, input.values + i * channels);
    step_.quantize(input.values, channels, mine.begin, mine.end, input);
    device_.pool().barrier(thread);
    step_.multiply(input, channels, count, {{&ends[kClassifier], &ends[kClassifierBias], logits}},
                   split(ends[kClassifier].matrix.groups, thread, step_.threads));
  }

  Device& device_;
  StepContext step_;
  LogitPlan plan_;
  std::vector<std::size_t> logit_rows_;  // the plan's rows, then those whose best id is wanted
};

}  // namespace

Result<std::unique_ptr<Stage>> load_on_cpu(const TensorSource& source, const ModelConfig& config,
                                           LayerRange range, Device& device,
                                           const StageOptions& options) {
  std::vector<const StageWeights*> siblings;
  for (const auto& sibling : options.siblings) siblings.push_back(&sibling->weights());
  TROUPE_ASSIGN_OR_RETURN(auto weights,
                          load_weights(source, config, range, device.pool(), siblings));
  const kernels::KvType kv_type = options.kv_type.value_or(default_kv_type(source.header()));
  auto pool = std::make_shared<KvPool>(kv_type, range.end - range.begin, config.kv_heads,
                                       config.head_dim, options.kv_bytes_max);
  return std::unique_ptr<Stage>(std::make_unique<CpuStage>(
      config, std::move(weights), device, std::move(pool), options.f16_activations));
}

}  // namespace troupe::model
