#include <algorithm>
#include <cmath>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <troupe/model/families/read_config.h>
#include <troupe/model/transformer/accelerated_stage.h>
#include <troupe/model/transformer/paged_stage.h>
#include <troupe/model/transformer/rope_table.h>
#include <troupe/model/transformer/step_checks.h>
#include <troupe/model/transformer/weights.h>

namespace troupe::model {
namespace {

// The blocks of a stage's sequences, in one piece of the accelerator's memory that is taken when
// the stage loads, so that memory cannot run out in the middle of an answer.
class BlockArena final : public BlockMemory {
 public:
  BlockArena(AlignedBuffer memory, std::size_t block_bytes) : memory_(std::move(memory)) {
    for (std::size_t i = memory_.bytes() / block_bytes; i > 0; --i)
      free_.push_back(memory_.data() + (i - 1) * block_bytes);
  }
  std::byte* take() override {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return nullptr;
    std::byte* block = free_.back();
    free_.pop_back();
    return block;
  }
  void give_back(std::byte* block) override {
    const std::lock_guard lock(mutex_);
    free_.push_back(block);
  }

 private:
  AlignedBuffer memory_;
  std::mutex mutex_;
  std::vector<std::byte*> free_;
};

// Takes memory for as many blocks as the bound allows. Without a bound, takes half of the free
// memory, but no more than eight whole contexts need.
Result<std::shared_ptr<KvPool>> make_pool(const ModelConfig& config, LayerRange range,
                                          kernels::KvType type, const StageOptions& options,
                                          Accelerator& accelerator) {
  const std::size_t layers = range.end - range.begin;
  const std::size_t block = KvPool(type, layers, config.kv_heads, config.head_dim, 0).block_bytes();
  TROUPE_ASSIGN_OR_RETURN(const std::uint64_t free_bytes, accelerator.free_bytes());
  constexpr std::uint64_t kContexts = 8;
  const std::uint64_t context_blocks =
      (config.context_max + kernels::kPageKeys - 1) / kernels::kPageKeys;
  std::uint64_t bytes = options.kv_bytes_max != 0
                            ? options.kv_bytes_max
                            : std::min(free_bytes / 2, kContexts * context_blocks * block);
  bytes = bytes / block * block;
  if (bytes == 0 || bytes > free_bytes)
    return Status(Code::kResourceExhausted,
                  "the keys and values of layers " + to_string(range) + " need " +
                      std::to_string(std::max<std::uint64_t>(bytes, block)) + " bytes on " +
                      accelerator.name() + ", which has " + std::to_string(free_bytes) +
                      " left; choose a smaller context, or place fewer layers there");
  TROUPE_ASSIGN_OR_RETURN(AlignedBuffer memory, accelerator.allocate(bytes));
  return std::make_shared<KvPool>(type, layers, config.kv_heads, config.head_dim, bytes,
                                  std::make_unique<BlockArena>(std::move(memory), block));
}

// The stage's vectors on the accelerator, in one piece of memory: add() each, open(), put() each,
// then upload().
class DeviceVectors {
 public:
  void add(const Weight& weight) {
    if (!weight.vector.empty()) sizes_ += padded(weight.vector.size());
  }
  Status open(Accelerator& accelerator) {
    TROUPE_ASSIGN_OR_RETURN(memory_, accelerator.allocate(sizes_ * sizeof(float)));
    host_.reserve(sizes_);
    return Status::ok();
  }
  // Returns where the vector will lie, or null if it is empty. Called after open(), once for each
  // vector that was added.
  const float* put(const Weight& weight) {
    if (weight.vector.empty()) return nullptr;
    const std::size_t at = host_.size();
    host_.insert(host_.end(), weight.vector.begin(), weight.vector.end());
    host_.resize(at + padded(weight.vector.size()));
    return reinterpret_cast<const float*>(memory_.data()) + at;
  }
  Status upload(Accelerator& accelerator) {
    return accelerator.upload(host_.data(), host_.size() * sizeof(float), memory_.data());
  }

 private:
  static std::size_t padded(std::size_t count) { return (count + 63) / 64 * 64; }
  std::size_t sizes_ = 0;
  std::vector<float> host_;
  AlignedBuffer memory_;
};

DeviceMatrix matrix_of(const Weight& weight) {
  const kernels::PackedMatrix& matrix = weight.matrix;
  return {matrix.data.data(), matrix.type, matrix.rows, matrix.columns, matrix.group_bytes};
}

class AcceleratedStage final : public PagedStage {
 public:
  AcceleratedStage(const ModelConfig& config, std::unique_ptr<StageWeights> weights, Device& device,
                   std::shared_ptr<KvPool> pool, bool f16_activations)
      : PagedStage(config, std::move(weights), std::move(pool)),
        accelerator_(*device.accelerator()),
        f16_activations_(f16_activations),
        rope_(rope_frequencies(config_, weights_->ends[kRopeFactors].vector),
              config_.rope_magnitude) {}

  // Copies the vectors to the accelerator, which has the matrices, and prepares the program.
  Status open() {
    for (const auto& layer : weights_->layers)
      for (const Weight& weight : layer) vectors_.add(weight);
    vectors_.add(weights_->ends[kOutputNorm]);
    TROUPE_RETURN_IF_ERROR(vectors_.open(accelerator_));
    std::vector<DeviceLayer> layers;
    for (std::size_t i = 0; i < weights_->layers.size(); ++i) layers.push_back(layer_of(i));
    DeviceEnds ends;
    if (is_first()) ends.embedding = matrix_of(weights_->ends[kTokenEmbedding]);
    if (is_last()) {
      ends.output = matrix_of(weights_->output_matrix(config_));
      ends.output_norm = vectors_.put(weights_->ends[kOutputNorm]);
    }
    TROUPE_RETURN_IF_ERROR(vectors_.upload(accelerator_));
    TROUPE_ASSIGN_OR_RETURN(program_, accelerator_.program(shape(), layers, ends));
    return Status::ok();
  }

  bool f16_activations() const override { return f16_activations_; }
  bool prefers_best() const override { return true; }

  Status forward(const StepInput& input, StepOutput* output) override {
    TROUPE_ASSIGN_OR_RETURN(const std::size_t rows, check_rows(input, config_, weights_->range));
    TROUPE_RETURN_IF_ERROR(reserve_pages(input, pool(), &segments_));
    const Status ran = run(input, rows, output);
    for (const SegmentRows& segment : segments_)
      ran.is_ok() ? segment.sequence->commit() : segment.sequence->cancel();
    return ran;
  }

 private:
  DeviceLayer layer_of(std::size_t index) {
    auto& slots = weights_->layers[index];
    const std::size_t number = weights_->range.begin + index;
    DeviceLayer layer;
    layer.q = matrix_of(slots[kQ]);
    layer.k = matrix_of(slots[kK]);
    layer.v = matrix_of(slots[kV]);
    layer.attention_out = matrix_of(slots[kAttnOut]);
    layer.gate = matrix_of(slots[kGate]);
    layer.up = matrix_of(slots[kUp]);
    layer.down = matrix_of(slots[kDown]);
    layer.attention_norm = vectors_.put(slots[kAttnNorm]);
    layer.ffn_norm = vectors_.put(slots[kFfnNorm]);
    layer.q_norm = vectors_.put(slots[kQNorm]);
    layer.k_norm = vectors_.put(slots[kKNorm]);
    layer.q_bias = vectors_.put(slots[kQBias]);
    layer.k_bias = vectors_.put(slots[kKBias]);
    layer.v_bias = vectors_.put(slots[kVBias]);
    layer.attention_out_bias = vectors_.put(slots[kAttnOutBias]);
    layer.gate_bias = vectors_.put(slots[kGateBias]);
    layer.up_bias = vectors_.put(slots[kUpBias]);
    layer.down_bias = vectors_.put(slots[kDownBias]);
    layer.window = config_.has_window(number) ? config_.window : 0;
    layer.rotates = config_.rotates(number);
    return layer;
  }

  StageShape shape() const {
    StageShape shape;
    shape.channels = config_.channels;
    shape.ffn_channels = config_.ffn_channels;
    shape.heads = config_.heads;
    shape.kv_heads = config_.kv_heads;
    shape.head_dim = config_.head_dim;
    shape.rotary_dim = config_.rotary_dim;
    shape.vocabulary = config_.vocabulary;
    shape.norm_epsilon = config_.norm_epsilon;
    shape.attention_scale = config_.attention_scale != 0.0f
                                ? config_.attention_scale
                                : 1.0f / std::sqrt(static_cast<float>(config_.head_dim));
    shape.rope_interleaved = config_.rope_interleaved;
    shape.f16_activations = f16_activations_;
    shape.kv_type = pool().type();
    shape.page_bytes = pool().page_bytes();
    return shape;
  }

  // Fills step_rows_, blocks_ and cos_sin_ from segments_.
  void lay_out_rows(const StepInput& input, std::size_t rows) {
    step_rows_.resize(rows);
    blocks_.clear();
    cos_sin_.resize(rows * config_.rotary_dim);
    for (const SegmentRows& segment : segments_) {
      rope_.grow(segment.position + segment.count);
      const auto first_block = static_cast<std::uint32_t>(blocks_.size());
      // A sequence may have blocks for positions that are still to come.
      const std::size_t used =
          (segment.position + segment.count + kernels::kPageKeys - 1) / kernels::kPageKeys;
      const std::span<std::byte* const> blocks = segment.sequence->blocks().first(used);
      blocks_.insert(blocks_.end(), blocks.begin(), blocks.end());
      for (std::size_t i = 0; i < segment.count; ++i) {
        const std::size_t row = segment.first_row + i, position = segment.position + i;
        step_rows_[row] = {static_cast<std::uint32_t>(position), first_block,
                           is_first() ? input.token_ids[row] : 0};
        std::copy_n(rope_.at(position), config_.rotary_dim,
                    cos_sin_.begin() + static_cast<std::ptrdiff_t>(row * config_.rotary_dim));
      }
    }
  }

  Status run(const StepInput& input, std::size_t rows, StepOutput* output) {
    lay_out_rows(input, rows);
    plan_logits(input, config_, weights_->range, &plan_);
    const std::vector<std::uint32_t> logit_rows(plan_.rows.begin(), plan_.rows.end());
    const std::vector<std::uint32_t> best_rows(plan_.best.begin(), plan_.best.end());
    DeviceStep step;
    step.rows = step_rows_;
    step.blocks = blocks_;
    step.cos_sin = cos_sin_;
    if (!is_first()) step.hidden = input.hidden;
    step.logits = logit_rows;
    step.best = best_rows;
    output->hidden.resize(is_last() ? 0 : rows * config_.channels);
    output->logits.resize(logit_rows.size() * config_.vocabulary);
    output->best.resize(best_rows.size());
    DeviceResults results;
    results.hidden = is_last() ? nullptr : output->hidden.data();
    results.logits = output->logits.data();
    results.best = output->best.data();
    return program_->run(step, results);
  }

  Accelerator& accelerator_;
  const bool f16_activations_;
  RopeTable rope_;
  DeviceVectors vectors_;
  std::unique_ptr<StageProgram> program_;
  // These belong to the running step.
  std::vector<SegmentRows> segments_;
  std::vector<DeviceStepRow> step_rows_;
  std::vector<std::byte*> blocks_;
  std::vector<float> cos_sin_;
  LogitPlan plan_;
};

}  // namespace

Status check_accelerated(const ModelConfig& config) {
  const struct {
    bool wanted;
    const char* what;
  } options[] = {
      {config.norm != NormKind::kRms, "layer norms"},
      {config.post_norm || !config.input_norms, "norms after sums"},
      {config.output_changes(), "norms or scales of a sublayer's output"},
      {config.feed_forward != FeedForward::kGatedSilu, "activations other than SiLU with a gate"},
      {config.qk_norm, "norms of queries and keys as wholes"},
      {config.window_rope_theta != 0.0, "two bases of rotations"},
      {config.attention_cap != 0.0f || config.logit_cap != 0.0f, "capped scores or logits"},
      {config.attention_sinks, "attention sinks"},
      {config.learned_positions || config.token_types > 0 || config.embedding_norm ||
           config.embedding_scale != 1.0f,
       "embeddings that are changed before the first layer"},
      {config.logit_divisor != 1.0f, "divided logits"},
      {!config.causal, "encoders"},
      {config.experts > 0, "mixtures of experts"},
      {!config.adapter_ranks.empty(), "adapters"},
      {config.head_dim > 256, "heads of more than 256 channels"},
      {config.head_dim % 2 != 0, "heads of an odd number of channels"},
  };
  for (const auto& option : options)
    if (option.wanted)
      return Status(Code::kFailedPrecondition, "GPUs do not compute models of the family \"" +
                                                   config.family + "\" with " + option.what +
                                                   " yet; use --device cpu");
  return Status::ok();
}

Result<std::unique_ptr<Stage>> load_accelerated(const TensorSource& source,
                                                const ModelConfig& config, LayerRange range,
                                                Device& device, const StageOptions& options) {
  Accelerator& accelerator = *device.accelerator();
  TROUPE_RETURN_IF_ERROR(check_accelerated(config));
  TROUPE_RETURN_IF_ERROR(accelerator.health());
  std::vector<const StageWeights*> siblings;
  for (const auto& sibling : options.siblings) siblings.push_back(&sibling->weights());
  TROUPE_ASSIGN_OR_RETURN(
      auto weights, load_weights(source, config, range, device.pool(), siblings, &accelerator));
  const kernels::KvType kv_type = options.kv_type.value_or(default_kv_type(source.header()));
  TROUPE_ASSIGN_OR_RETURN(auto pool, make_pool(config, range, kv_type, options, accelerator));
  auto stage = std::make_unique<AcceleratedStage>(config, std::move(weights), device,
                                                  std::move(pool), options.f16_activations);
  TROUPE_RETURN_IF_ERROR(stage->open());
  return std::unique_ptr<Stage>(std::move(stage));
}

}  // namespace troupe::model
