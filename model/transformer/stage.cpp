#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include <troupe/model/families/family.h>
#include <troupe/model/families/read_config.h>
#include <troupe/model/transformer/block.h>
#include <troupe/model/transformer/numbered_blocks.h>
#include <troupe/model/transformer/stage.h>
#include <troupe/runtime/machine/aligned_buffer.h>

namespace troupe::model {
namespace {

bool all_finite(std::span<const float> values) {
  unsigned found = 0;
  for (const float value : values)
    found |= (std::bit_cast<std::uint32_t>(value) & 0x7f800000u) == 0x7f800000u;
  return found == 0;
}

Status invalid(const std::string& what) { return Status(Code::kInvalidArgument, what); }

class TransformerStage final : public Stage {
 public:
  TransformerStage(const ModelConfig& config, std::unique_ptr<StageWeights> weights, Device& device,
                   kernels::KvType kv_type, const StageOptions& options)
      : config_(config),
        weights_(std::move(weights)),
        device_(device),
        kv_pool_(std::make_shared<KvPool>(kv_type, weights_->layers.size(), config.kv_heads,
                                          config.head_dim, options.kv_bytes_max)),
        numbered_(kv_pool_),
        step_(config_, *weights_, device, kv_type) {
    step_.f16_activations = options.f16_activations;
  }

  const ModelConfig& config() const override { return config_; }
  LayerRange range() const override { return weights_->range; }
  bool f16_activations() const override { return step_.f16_activations; }
  std::uint64_t weights_bytes() const override { return weights_->bytes; }
  const StageWeights& weights() const override { return *weights_; }
  std::unique_ptr<KvSequence> new_sequence() const override {
    return std::make_unique<PagedKvSequence>(kv_pool_);
  }
  Result<std::unique_ptr<KvSequence>> begin_sequence(std::size_t length,
                                                     std::span<const BlockNumber> blocks) override {
    TROUPE_ASSIGN_OR_RETURN(auto sequence, numbered_.begin(length, blocks));
    return std::unique_ptr<KvSequence>(std::move(sequence));
  }
  Status add_blocks(KvSequence& sequence, std::span<const BlockNumber> blocks) override {
    auto* paged = dynamic_cast<PagedKvSequence*>(&sequence);
    if (paged == nullptr || paged->pool() != kv_pool_.get() || !paged->is_given())
      return invalid("a sequence that has no numbered blocks of this stage is given some");
    return numbered_.add(*paged, blocks);
  }
  void free_blocks(std::span<const BlockNumber> blocks) override { numbered_.free(blocks); }
  std::uint64_t kv_bytes() const override { return kv_pool_->bytes(); }

  Status forward(const StepInput& input, StepOutput* output) override {
    TROUPE_ASSIGN_OR_RETURN(const std::size_t rows, check_rows(input));
    TROUPE_RETURN_IF_ERROR(reserve(input));
    run(input, rows, output);
    for (const SegmentRows& segment : step_.segments) segment.sequence->commit();
    return Status::ok();
  }

 private:
  bool is_first() const { return weights_->range.begin == 0; }
  bool is_last() const { return weights_->range.end == config_.layers; }

  // Checks everything about the given values, and returns the number of rows.
  Result<std::size_t> check_rows(const StepInput& input) const {
    std::size_t rows = 0;
    for (const Segment& segment : input.segments) {
      if (segment.count == 0) return invalid("a segment of a step has no rows");
      if (segment.position >= config_.context_max ||
          segment.count > config_.context_max - segment.position)
        return invalid("positions " + std::to_string(segment.position) + " to " +
                       std::to_string(segment.position + segment.count - 1) +
                       " do not fit into the model's context of " +
                       std::to_string(config_.context_max) + "; shorten the prompt");
      if (!config_.causal && segment.position != 0)
        return invalid("an encoder reads a text in one piece, but a segment begins at position " +
                       std::to_string(segment.position));
      rows += segment.count;
    }
    if (rows == 0) return invalid("a step has no rows");
    if (is_first()) {
      if (input.token_ids.size() != rows)
        return invalid("a step of " + std::to_string(rows) + " rows came with " +
                       std::to_string(input.token_ids.size()) + " token ids");
      for (const TokenId id : input.token_ids)
        if (id < 0 || static_cast<std::size_t>(id) >= config_.vocabulary)
          return invalid("token id " + std::to_string(id) + " is not in the vocabulary of " +
                         std::to_string(config_.vocabulary));
      TROUPE_RETURN_IF_ERROR(check_token_types(input.token_types, rows));
    } else {
      if (input.hidden.size() != rows * config_.channels)
        return invalid("a step of " + std::to_string(rows) + " rows came with " +
                       std::to_string(input.hidden.size()) + " hidden values instead of " +
                       std::to_string(rows * config_.channels));
      if (!all_finite(input.hidden)) return invalid("the hidden states of a step hold a NaN");
    }
    return rows;
  }

  Status check_token_types(std::span<const std::uint8_t> types, std::size_t rows) const {
    if (!types.empty() && types.size() != rows)
      return invalid("a step of " + std::to_string(rows) + " rows came with " +
                     std::to_string(types.size()) + " token types");
    for (const std::uint8_t type : types)
      if (type >= config_.token_types)
        return invalid("token type " + std::to_string(type) + " is not one of the model's " +
                       std::to_string(config_.token_types));
    return Status::ok();
  }

  // Fills step_.segments and takes the pages for every sequence. If that fails for one, it takes
  // none.
  Status reserve(const StepInput& input) {
    std::vector<SegmentRows>& segments = step_.segments;
    segments.clear();
    Status failed;
    std::size_t row = 0;
    for (const Segment& segment : input.segments) {
      auto* sequence = dynamic_cast<PagedKvSequence*>(segment.sequence);
      if (sequence == nullptr || sequence->pool() != kv_pool_.get()) {
        failed = invalid("a sequence of a step belongs to another stage");
      } else if (sequence->reserved() != 0) {
        failed = invalid("a sequence occurs twice in a step");
      } else if (sequence->length() != segment.position) {
        failed = invalid("a segment begins at position " + std::to_string(segment.position) +
                         ", but its sequence has " + std::to_string(sequence->length()));
      } else if (!sequence->reserve(segment.count) && sequence->is_given()) {
        failed = Status(Code::kFailedPrecondition,
                        "a segment of a step ends at position " +
                            std::to_string(segment.position + segment.count) +
                            ", beyond the blocks that its sequence was given");
      } else if (sequence->reserved() != segment.count) {
        failed = Status(Code::kResourceExhausted,
                        "no memory for the keys and values of " + std::to_string(segment.count) +
                            " more positions (" + std::to_string(kv_pool_->bytes()) +
                            " bytes are in use, the limit is " +
                            (kv_pool_->bytes_max() == 0 ? "the machine's memory"
                                                        : std::to_string(kv_pool_->bytes_max())) +
                            "); end other requests or shorten the prompt");
      }
      if (!failed.is_ok()) {
        for (const SegmentRows& reserved : segments) reserved.sequence->cancel();
        return failed;
      }
      segments.push_back({sequence, segment.position, segment.count, row});
      row += segment.count;
    }
    return Status::ok();
  }

  // Collects the rows whose logits are asked for. For an encoder with a head, that is the first row
  // of a sequence.
  void gather_logit_rows(const StepInput& input) {
    logit_rows_.clear();
    if (!is_last()) return;
    std::size_t row = 0;
    for (const Segment& segment : input.segments) {
      row += segment.count;
      if (!config_.causal) {
        if (config_.labels > 0 && segment.logits != LogitRows::kNone)
          logit_rows_.push_back(row - segment.count);
        continue;
      }
      const std::size_t wanted = segment.logits == LogitRows::kAll    ? segment.count
                                 : segment.logits == LogitRows::kLast ? 1
                                                                      : 0;
      for (std::size_t i = row - wanted; i < row; ++i) logit_rows_.push_back(i);
    }
  }

  void run(const StepInput& input, std::size_t rows, StepOutput* output) {
    gather_logit_rows(input);
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
      if (logit_rows_.empty()) return;
      if (config_.causal) {
        compute_logits(logits, thread);
      } else {
        classify(logits, thread);
      }
    });
    if (gives_hidden)
      std::memcpy(output->hidden.data(), step_.x, output->hidden.size() * sizeof(float));
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

  // logits = cap * tanh(logits / divisor / cap), as far as the model has these.
  void finish_logits(float* logits, std::size_t count) const {
    if (config_.logit_divisor != 1.0f)
      for (std::size_t i = 0; i < count; ++i) logits[i] /= config_.logit_divisor;
    if (config_.logit_cap == 0.0f) return;
    for (std::size_t i = 0; i < count; ++i) logits[i] /= config_.logit_cap;
    step_.kernels.tanh(logits, logits, count);
    for (std::size_t i = 0; i < count; ++i) logits[i] *= config_.logit_cap;
  }

  // logits = Wc tanh(Wp x_0 + bp) + bc, where x_0 is the first row of a sequence.
  void classify(float* logits, int thread) {
    const auto& ends = weights_->ends;
    const std::size_t channels = config_.channels, count = logit_rows_.size();
    const IndexRange mine = split(count, thread, step_.threads);
    const RowBuffer &input = step_.logit_input, &pooled = step_.pooled;
    for (std::size_t i = mine.begin; i < mine.end; ++i)
      std::memcpy(input.values + i * channels, step_.x + logit_rows_[i] * channels,
                  channels * sizeof(float));
    step_.quantize(input.values, channels, mine.begin, mine.end, input);
    device_.pool().barrier(thread);
    step_.multiply(input, channels, count, {{&ends[kPooler], &ends[kPoolerBias], pooled.values}},
                   split(ends[kPooler].matrix.groups, thread, step_.threads));
    device_.pool().barrier(thread);
    float* rows = pooled.values + mine.begin * channels;
    step_.kernels.tanh(rows, rows, (mine.end - mine.begin) * channels);
    step_.quantize(pooled.values, channels, mine.begin, mine.end, pooled);
    device_.pool().barrier(thread);
    step_.multiply(pooled, channels, count, {{&ends[kClassifier], &ends[kClassifierBias], logits}},
                   split(ends[kClassifier].matrix.groups, thread, step_.threads));
  }

  const ModelConfig config_;
  const std::unique_ptr<StageWeights> weights_;
  Device& device_;
  const std::shared_ptr<KvPool> kv_pool_;
  NumberedBlocks numbered_;
  StepContext step_;
  std::vector<std::size_t> logit_rows_;
};

}  // namespace

Result<std::unique_ptr<Stage>> Stage::load(const TensorSource& source, const ModelConfig& config,
                                           LayerRange range, Device& device,
                                           const StageOptions& options) {
  if (find_family(config.family) == nullptr)
    return invalid("there is no model family \"" + config.family + "\"");
  if (range.begin >= range.end || range.end > config.layers)
    return invalid("layers " + to_string(range) + " are not in the model, which has layers 0-" +
                   std::to_string(config.layers - 1));
  std::vector<const StageWeights*> siblings;
  for (const auto& sibling : options.siblings) siblings.push_back(&sibling->weights());
  TROUPE_ASSIGN_OR_RETURN(auto weights,
                          load_weights(source, config, range, device.pool(), siblings));
  const kernels::KvType kv_type = options.kv_type.value_or(default_kv_type(source.header()));
  return std::unique_ptr<Stage>(
      std::make_unique<TransformerStage>(config, std::move(weights), device, kv_type, options));
}

std::uint64_t weights_bytes(std::span<const Stage* const> stages) {
  std::uint64_t bytes = 0;
  std::set<const std::byte*> seen;
  const auto look = [&](const Weight& weight) {
    const AlignedBuffer& data = weight.matrix.data;
    if (data.bytes() != 0 && !seen.insert(data.data()).second) bytes -= data.bytes();
  };
  for (const Stage* stage : stages) {
    bytes += stage->weights_bytes();
    for (const auto& layer : stage->weights().layers) {
      for (const Weight& weight : layer) look(weight);
    }
    for (const auto& layer : stage->weights().experts)
      for (const auto& expert : layer)
        for (const Weight& weight : expert) look(weight);
    for (const Weight& weight : stage->weights().ends) look(weight);
  }
  return bytes;
}

}  // namespace troupe::model
